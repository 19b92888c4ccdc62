//! DPDK's own counters of a running appliance, as `dpdk-telemetry.py` gets them.

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, socket,
};
use serde_json::Value;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// Bytes of an answer at most: the number that DPDK tells when somebody connects.
const ANSWER_MAX: usize = 16_384;

/// A connection to one process.
pub(crate) struct Telemetry(OwnedFd);

impl Telemetry {
    /// To the process of this number. A second one on a machine has a socket of its own.
    pub(crate) fn of(process: u32) -> Self {
        let folder = PathBuf::from("/var/run/dpdk/rte");
        let all = std::fs::read_dir(&folder).unwrap().map(Result::unwrap);
        let sockets = all.filter(|entry| {
            let name = entry.file_name();
            name.to_str().unwrap().starts_with("dpdk_telemetry.v2")
        });
        let found = sockets.filter_map(|entry| {
            let (kind, flags) = (SockType::SeqPacket, SockFlag::SOCK_CLOEXEC);
            let own = socket(AddressFamily::Unix, kind, flags, None).unwrap();
            // A process that was killed leaves a socket that nobody listens to.
            connect(
                own.as_raw_fd(),
                &UnixAddr::new(entry.path().as_path()).unwrap(),
            )
            .ok()?;
            let telemetry = Self(own);
            let greeting = telemetry.answer();
            (greeting["pid"].as_u64() == Some(u64::from(process))).then_some(telemetry)
        });
        let found = found.last();
        found.unwrap_or_else(|| panic!("no telemetry of process {process} in {folder:?}"))
    }

    /// Packets that the driver of the first port has given out.
    pub(crate) fn received(&self) -> u64 {
        let question = "/ethdev/stats,0";
        let flags = MsgFlags::empty();
        send(self.0.as_raw_fd(), question.as_bytes(), flags).unwrap();
        let answer = self.answer();
        answer["/ethdev/stats"]["ipackets"].as_u64().unwrap()
    }

    fn answer(&self) -> Value {
        let mut answer = vec![0; ANSWER_MAX];
        let length = recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap();
        serde_json::from_slice(&answer[..length]).unwrap()
    }
}
