//! Can results be written, metrics be served, commands be taken?

use super::case::Case;
use super::finding::{Check, Finding};
use super::system::size;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// Alerts and flow records.
pub(super) const FILES: Check = Check {
    id: "output.files",
    looks_at: "files of alerts and flow records: folder, permission, free space",
    why: "what cannot be written is lost",
};

/// Metrics.
pub(super) const METRICS: Check = Check {
    id: "output.metrics",
    looks_at: "metrics.address",
    why: "without it nobody sees losses",
};

/// Control socket.
pub(super) const CONTROL: Check = Check {
    id: "output.control",
    looks_at: "folder of control.socket",
    why: "wirelynx reload asks there",
};

/// Less free space than this is told. A flow record has some 600 bytes, an alert 400: with 1,000 of
/// each a second it lasts a quarter of an hour.
const SPACE_MIN: u64 = 1 << 30;

/// Files, and the folder of the control socket.
pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let output = &case.config.output;
    let mut findings = Vec::new();
    let both = [
        ("output.alerts", &output.alerts),
        ("output.flows", &output.flows),
    ];
    for (key, path) in both {
        findings.extend(file(case, key, path));
    }
    let socket = &case.config.control.socket;
    if !socket.is_empty() {
        findings.push(control(Path::new(socket)));
    }
    findings
}

/// The address of metrics: for a program that does not serve them itself a moment later.
pub(super) fn metrics(case: &Case<'_>) -> Finding {
    let metrics = &case.config.metrics;
    if !metrics.enabled {
        return METRICS.ok("metrics.enabled", "off");
    }
    let (address, port) = (metrics.address, metrics.address.port());
    match TcpListener::bind(address) {
        Ok(_) => METRICS.ok("metrics.address", format!("{address} is free")),
        Err(error) => METRICS.failure(
            "metrics.address",
            format!("{address}: {error}"),
            match error.kind() {
                std::io::ErrorKind::AddrInUse => format!("ss -ltnp 'sport = :{port}'"),
                _ => case.set("metrics.address=127.0.0.1:9477"),
            },
        ),
    }
}

fn file(case: &Case<'_>, key: &str, path: &str) -> Option<Finding> {
    if path.is_empty() {
        return None;
    }
    if path == "-" {
        return Some(FILES.ok(key, "standard output"));
    }
    let subject = format!("{key} {path}");
    let path = Path::new(path);
    let folder = folder(path);
    let shown = folder.display();
    if !folder.is_dir() {
        let command = format!("install -d {shown}");
        return Some(FILES.failure(subject, format!("there is no folder {shown}"), command));
    }
    let writable = |path: &Path| access(path, AccessFlags::W_OK);
    let exists = path.exists();
    let checked = match exists {
        true => writable(path),
        false => writable(&folder),
    };
    if let Err(error) = checked {
        let target = if exists { path } else { folder.as_path() };
        let user = case.system.user();
        let text = format!("user {user} may not write to {}: {error}", target.display());
        let command = format!("chown {user} {}", target.display());
        return Some(FILES.failure(subject, text, command));
    }
    if exists && !path.is_file() {
        // A device or a pipe takes what it takes.
        return Some(FILES.ok(subject, "can be written"));
    }
    Some(space(subject, &folder))
}

fn space(subject: String, folder: &Path) -> Finding {
    let command = format!("df -h {}", folder.display());
    let Ok(state) = statvfs(folder) else {
        return FILES.unknown(subject, "free space cannot be seen", command);
    };
    let free = state
        .blocks_available()
        .saturating_mul(state.fragment_size());
    let text = format!("can be written, {} free", size(free));
    match free >= SPACE_MIN {
        true => FILES.ok(subject, text),
        false => FILES.warning(subject, text, command),
    }
}

fn control(socket: &Path) -> Finding {
    let folder = folder(socket);
    let (subject, shown) = (
        format!("control.socket {}", socket.display()),
        folder.display(),
    );
    if !folder.is_dir() {
        let command = format!("install -d {shown}");
        return CONTROL.failure(subject, format!("there is no folder {shown}"), command);
    }
    match access(&folder, AccessFlags::W_OK) {
        Ok(()) => CONTROL.ok(subject, "its folder can be written"),
        Err(error) => CONTROL.failure(
            subject,
            format!("{shown}: {error}"),
            format!("install -d -o $(id -un) {shown}"),
        ),
    }
}

/// The folder that a file is in; that of the process for a bare name.
fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("/"),
    }
}
