//! Is the system clock right?

use super::finding::{Check, Finding};
use super::system::System;
use std::time::Duration;

/// Synchronization.
pub(super) const SYNCHRONIZED: Check = Check {
    id: "time.synchronized",
    looks_at: "state of the system clock as adjtimex(2) tells, and who steers it",
    why: "alerts and flow records of several machines are compared by their times",
};

/// More than this is told: the events of two machines can then not be put in order.
const ERROR_MAX: Duration = Duration::from_millis(100);

/// Programs that steer clocks, with what they leave behind while they run.
const PROGRAMS: [(&str, &str); 5] = [
    ("chrony", "run/chrony/chronyd.pid"),
    ("ptp4l and phc2sys", "run/ptp4l"),
    ("ntpd", "run/ntpd.pid"),
    ("openntpd", "run/openntpd/openntpd.pid"),
    ("systemd-timesyncd", "run/systemd/timesync/synchronized"),
];

/// All of the group.
pub(super) fn check(system: &System) -> Finding {
    let Some(clock) = system.clock else {
        let text = "the kernel does not tell";
        return SYNCHRONIZED.unknown("system clock", text, "timedatectl timesync-status");
    };
    let running = PROGRAMS.iter().find(|(_, file)| system.has(file));
    let by = running.map_or_else(
        || "another program".to_owned(),
        |(name, _)| (*name).to_owned(),
    );
    let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
    if !clock.synchronized {
        let (found, command) = match running {
            Some((name, _)) => (
                format!("{name} runs, but does not steer it yet"),
                "chronyc tracking || timedatectl timesync-status",
            ),
            None => (
                "nobody steers it".to_owned(),
                "apt-get install chrony && systemctl enable --now chrony",
            ),
        };
        return SYNCHRONIZED.warning("system clock", found, command);
    }
    let found = format!(
        "steered by {by}; off by {:.3} ms by estimate, {:.3} ms at most",
        millis(clock.error_estimate),
        millis(clock.error_max)
    );
    match clock.error_max > ERROR_MAX {
        false => SYNCHRONIZED.ok("system clock", found),
        true => SYNCHRONIZED.warning("system clock", found, "chronyc -a makestep"),
    }
}
