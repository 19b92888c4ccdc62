//! Generates the raw bindings of DPDK and compiles the shim around its inline functions.
#![allow(
    clippy::print_stdout,
    reason = "a build script speaks to cargo on standard output"
)]

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

/// The one release line whose structures the safe layer was written against.
const VERSION: &str = "22.11";

/// Shared libraries that the shim and the safe layer call. The drivers are not among them: EAL
/// loads them at run time from the folder that its own package names.
const LIBRARIES: [&str; 5] = [
    "rte_ethdev",
    "rte_mbuf",
    "rte_mempool",
    "rte_ring",
    "rte_eal",
];

/// Everything of DPDK that the safe layer may call.
const FUNCTIONS: &str = "shim_.*|rte_eal_(init|cleanup)|rte_strerror|rte_thread_(un)?register\
    |rte_get_tsc_hz|rte_version|rte_pktmbuf_pool_create|rte_mempool_(free|avail_count)\
    |rte_pktmbuf_free_bulk\
    |rte_eth_dev_(get_port_by_name|get_name_by_port|is_valid_port|socket_id|info_get|configure)\
    |rte_eth_dev_(adjust_nb_rx_tx_desc|start|stop|close|is_removed|rss_reta_query|fw_version_get)\
    |rte_eth_dev_rss_hash_(conf_get|update)\
    |rte_eth_dev_callback_(un)?register|rte_eth_find_next_owned_by\
    |rte_eth_[rt]x_queue_setup|rte_eth_promiscuous_enable|rte_eth_allmulticast_enable\
    |rte_eth_link_get_nowait|rte_eth_stats_get|rte_eth_xstats_get(_names)?\
    |rte_mbuf_dyn(field|flag)_lookup";

/// Structures that the safe layer hands on by pointer only, and those that bindgen cannot lay out
/// because they are packed and aligned at once.
const OPAQUE: &str = "rte_mbuf|rte_mempool|rte_device|rte_arp_.*|rte_l2tpv2_.*|rte_gtp_psc_.*\
    |rte_ipv6_hdr";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=shim.h");
    println!("cargo::rerun-if-changed=shim.c");
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_PATH");

    let found = pkg_config(&["--modversion"])?;
    if !found.starts_with(VERSION) {
        return Err(format!(
            "libdpdk {found} is installed, but this program needs {VERSION} (Debian 12: package \
             libdpdk-dev); without DPDK build with --no-default-features"
        )
        .into());
    }
    let flags = pkg_config(&["--cflags"])?;
    let flags: Vec<&str> = flags.split_whitespace().collect();

    compile_shim(&flags);
    generate_bindings(&flags)?;

    println!(
        "cargo::rustc-link-search=native={}",
        pkg_config(&["--variable=libdir"])?
    );
    for library in LIBRARIES {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    Ok(())
}

/// What pkg-config says of libdpdk.
fn pkg_config(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let missing = "libdpdk was not found by pkg-config: install the Debian packages libdpdk-dev \
                   and pkg-config (and libclang-dev for the bindings), or build with \
                   --no-default-features to do without live capture";
    let output = Command::new("pkg-config")
        .args(arguments)
        .arg("libdpdk")
        .output()
        .map_err(|error| format!("{missing} ({error})"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{missing} ({})", said.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The flags must reach the compiler as they are: DPDK's headers depend on the forced include of
/// its configuration and on the instruction set that it was built for.
fn compile_shim(flags: &[&str]) {
    let mut build = cc::Build::new();
    build.file("shim.c").opt_level(3).extra_warnings(false);
    for flag in flags {
        build.flag(flag);
    }
    build.compile("dpdk_shim");
}

fn generate_bindings(flags: &[&str]) -> Result<(), Box<dyn Error>> {
    let output = PathBuf::from(std::env::var("OUT_DIR")?).join("bindings.rs");
    bindgen::Builder::default()
        .header("shim.h")
        .clang_args(flags)
        .allowlist_function(FUNCTIONS)
        .allowlist_type("shim_.*|rte_eth_xstat(_name)?|rte_eth_event_type|rte_eth_rx_mq_mode")
        .allowlist_var("SHIM_.*|RTE_MAX_ETHPORTS|RTE_ETHDEV_QUEUE_STAT_CNTRS")
        .opaque_type(OPAQUE)
        .prepend_enum_name(false)
        .generate_comments(false)
        .derive_debug(false)
        .generate()?
        .write_to_file(output)?;
    Ok(())
}
