//! Version stamp of the program, and where its loader finds the DPDK libraries.
#![allow(
    clippy::print_stdout,
    reason = "a build script speaks to cargo on standard output"
)]

fn main() {
    println!("cargo::rerun-if-changed=.git/HEAD");
    let revision = std::process::Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok());
    let revision = revision.as_deref().map_or("unknown", str::trim);
    println!("cargo::rustc-env=WIRELYNX_REVISION={revision}");
}
