//! What can be set for flows.

use serde::{Deserialize, Serialize};

/// Settings of the flow table of one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Flows that one worker tracks at a time. Memory for all of them is taken at start, some 600
    /// bytes each. Packets of further flows pass untracked and are counted as `table_full`.
    pub flows_max: usize,
    /// Are equal five-tuples in different VLANs (outermost tag) different flows? Off, because a
    /// mirror port often tags only one direction.
    pub vlan_in_key: bool,
    /// TCP: seconds without a packet before the handshake is complete.
    pub tcp_half_open_s: u32,
    /// TCP: seconds without a packet once both ends talk, or when the handshake was not seen.
    pub tcp_established_s: u32,
    /// TCP: seconds without a packet after the first FIN.
    pub tcp_closing_s: u32,
    /// TCP: seconds without a packet after a RST. Stray segments fall into the flow that they
    /// belong to.
    pub tcp_reset_s: u32,
    /// TCP: seconds without a packet after an orderly close of both directions, for the same
    /// reason.
    pub tcp_closed_s: u32,
    /// UDP: seconds without a packet while only one side has sent.
    pub udp_single_s: u32,
    /// UDP: seconds without a packet when both sides have sent.
    pub udp_stream_s: u32,
    /// ICMP and ICMPv6: seconds without a packet.
    pub icmp_s: u32,
    /// Any other IP protocol: seconds without a packet.
    pub other_s: u32,
    /// Seconds after which a flow that still talks ends and goes on as a new one; 0 for never. On,
    /// it costs each packet a look at the flow's start.
    pub active_s: u32,
    /// Bytes of IP packets, both directions together, after which applications and rules no longer
    /// look at the further packets of a flow; 0 for never, at most [`SHUNT_BYTES_MAX`]. They pass
    /// and count.
    pub shunt_bytes: u32,
}

/// Most that [`Settings::shunt_bytes`] can be, 2 GiB: every packet is compared with it, so it has
/// to be within what the counters of the flow's first cache lines hold.
pub const SHUNT_BYTES_MAX: u32 = 1 << 31;

impl Default for Settings {
    fn default() -> Self {
        Self {
            flows_max: 262_144,
            vlan_in_key: false,
            tcp_half_open_s: 60,
            tcp_established_s: 600,
            tcp_closing_s: 60,
            tcp_reset_s: 15,
            tcp_closed_s: 5,
            udp_single_s: 60,
            udp_stream_s: 180,
            icmp_s: 60,
            other_s: 60,
            active_s: 0,
            shunt_bytes: 0,
        }
    }
}

/// Which time-out counts for a flow.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
    TcpHalfOpen,
    TcpEstablished,
    TcpClosing,
    TcpReset,
    TcpClosed,
    UdpSingle,
    UdpStream,
    Icmp,
    #[default]
    Other,
}

/// The time-outs in nanoseconds, by class, and what else bounds flows.
#[derive(Debug, Clone)]
pub(super) struct Timeouts {
    idle: [u64; 9],
    /// Longest life of a flow; `u64::MAX` when there is no such limit.
    pub(super) active: u64,
    /// Bytes after which a flow is shunted; `u64::MAX` when there is no such limit.
    pub(super) shunt: u64,
}

impl Timeouts {
    pub(super) fn new(settings: &Settings) -> Self {
        let nanos = |seconds: u32| u64::from(seconds).saturating_mul(1_000_000_000);
        let seconds = [
            settings.tcp_half_open_s,
            settings.tcp_established_s,
            settings.tcp_closing_s,
            settings.tcp_reset_s,
            settings.tcp_closed_s,
            settings.udp_single_s,
            settings.udp_stream_s,
            settings.icmp_s,
            settings.other_s,
        ];
        Self {
            idle: seconds.map(nanos),
            active: match settings.active_s {
                0 => u64::MAX,
                seconds => nanos(seconds),
            },
            shunt: match settings.shunt_bytes {
                0 => u64::MAX,
                bytes => bytes.min(SHUNT_BYTES_MAX).into(),
            },
        }
    }

    #[inline]
    pub(super) fn idle(&self, class: Class) -> u64 {
        self.idle
            .get(usize::from(class as u8))
            .copied()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_time_out() {
        let timeouts = Timeouts::new(&Settings {
            active_s: 9,
            ..Settings::default()
        });
        assert_eq!(timeouts.idle(Class::TcpHalfOpen), 60_000_000_000);
        assert_eq!(timeouts.idle(Class::TcpClosed), 5_000_000_000);
        assert_eq!(timeouts.idle(Class::UdpStream), 180_000_000_000);
        assert_eq!(timeouts.idle(Class::Other), 60_000_000_000);
        assert_eq!(timeouts.active, 9_000_000_000);
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        assert!(toml::from_str::<Settings>("flows_max = 10").is_ok());
        assert!(toml::from_str::<Settings>("flow_max = 10").is_err());
    }
}
