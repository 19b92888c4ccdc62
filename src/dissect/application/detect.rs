//! Names the application of a flow from its first payload bytes.
//!
//! A signature is one line of the table and one function below. Ports only decide where the bytes
//! of a protocol say too little by themselves.

use crate::dissect::Protocol;

mod binary;
mod text;

/// First bytes of one direction, and the ports of the packet that they came with.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// The bytes.
    pub payload: &'a [u8],
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

impl Sample<'_> {
    /// Is this one of the ports?
    const fn has_port(&self, port: u16) -> bool {
        self.source_port == port || self.destination_port == port
    }
}

/// What the bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No signature fits.
    No,
    /// The bytes are the beginning of one.
    More,
    /// This application.
    Is(Application),
}

macro_rules! applications {
    ($($application:ident = $name:literal,)*) => {
        /// An application that a flow can carry.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the names say it")]
        pub enum Application {
            /// Not named, or not yet.
            #[default]
            Unknown,
            $($application,)*
        }

        impl Application {
            /// Every application that has a name.
            pub const ALL: &'static [Self] = &[$(Self::$application,)*];

            /// Name in flow records; empty for [`Application::Unknown`].
            pub const fn name(self) -> &'static str {
                match self {
                    Self::Unknown => "",
                    $(Self::$application => $name,)*
                }
            }
        }
    };
}

// Names as Zeek's connection log has them, where it knows the protocol.
applications! {
    Bittorrent = "bittorrent",
    DceRpc = "dce_rpc",
    Dhcp = "dhcp",
    Dnp3 = "dnp3_tcp",
    Dns = "dns",
    Dtls = "dtls",
    Ftp = "ftp",
    Gtp = "gtpv1",
    Http = "http",
    Http2 = "http2",
    Imap = "imap",
    Irc = "irc",
    Kerberos = "krb",
    KerberosTcp = "krb_tcp",
    LdapTcp = "ldap_tcp",
    LdapUdp = "ldap_udp",
    Modbus = "modbus",
    Mqtt = "mqtt",
    Mysql = "mysql",
    Netbios = "netbios",
    Ntp = "ntp",
    Pop3 = "pop3",
    Postgresql = "postgresql",
    Quic = "quic",
    Radius = "radius",
    Rdp = "rdp",
    Redis = "redis",
    Rfb = "rfb",
    Rtsp = "rtsp",
    Sip = "sip",
    Smb = "smb",
    Smtp = "smtp",
    Snmp = "snmp",
    Socks = "socks",
    Ssdp = "ssdp",
    Ssh = "ssh",
    Ssl = "ssl",
    Stun = "stun",
    Syslog = "syslog",
    Telnet = "telnet",
    Tftp = "tftp",
    Wireguard = "wireguard",
    Xmpp = "xmpp",
}

impl Application {
    /// Its entry in the protocol table, when it has attributes.
    pub const fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Http => Some(Protocol::Http),
            Self::Ftp => Some(Protocol::Ftp),
            _ => None,
        }
    }
}

/// What one signature says of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    No,
    /// Everything there fits, but it is too short to be sure.
    More,
    Yes,
}

impl From<bool> for Fit {
    fn from(fits: bool) -> Self {
        if fits { Self::Yes } else { Self::No }
    }
}

type Signature = (Application, fn(&Sample<'_>) -> Fit);

/// Signatures over TCP, the first that fits wins: those with many bytes to go by come first.
const TCP: &[Signature] = &[
    (Application::Http2, text::http2),
    (Application::Rtsp, text::rtsp),
    (Application::Sip, text::sip),
    (Application::Http, text::http),
    (Application::Ssl, binary::ssl),
    (Application::Ssh, text::ssh),
    (Application::Smtp, text::smtp),
    (Application::Ftp, text::ftp),
    (Application::Pop3, text::pop3),
    (Application::Imap, text::imap),
    (Application::Irc, text::irc),
    (Application::Xmpp, text::xmpp),
    (Application::Redis, text::redis),
    (Application::Rfb, text::rfb),
    (Application::Bittorrent, text::bittorrent),
    (Application::Mqtt, binary::mqtt),
    (Application::Smb, binary::smb),
    (Application::Netbios, binary::netbios_session),
    (Application::Rdp, binary::rdp),
    (Application::Mysql, binary::mysql),
    (Application::Postgresql, binary::postgresql),
    (Application::DceRpc, binary::dce_rpc),
    (Application::KerberosTcp, binary::kerberos_tcp),
    (Application::LdapTcp, binary::ldap),
    (Application::Modbus, binary::modbus),
    (Application::Dnp3, binary::dnp3),
    (Application::Socks, binary::socks),
    (Application::Telnet, binary::telnet),
    (Application::Dns, binary::dns_tcp),
];

/// Signatures over UDP.
const UDP: &[Signature] = &[
    (Application::Ssdp, text::ssdp),
    (Application::Sip, text::sip),
    (Application::Dhcp, binary::dhcp),
    (Application::Stun, binary::stun),
    (Application::Dtls, binary::dtls),
    (Application::Quic, binary::quic),
    (Application::Kerberos, binary::kerberos),
    (Application::Snmp, binary::snmp),
    (Application::LdapUdp, binary::ldap),
    (Application::Ntp, binary::ntp),
    (Application::Radius, binary::radius),
    (Application::Tftp, binary::tftp),
    (Application::Gtp, binary::gtp),
    (Application::Wireguard, binary::wireguard),
    (Application::Syslog, text::syslog),
    (Application::Dns, binary::dns),
];

/// The application of a TCP stream with these first bytes.
pub fn tcp(sample: &Sample<'_>) -> Verdict {
    judge(TCP, sample)
}

/// The application of a UDP datagram.
pub fn udp(sample: &Sample<'_>) -> Verdict {
    judge(UDP, sample)
}

fn judge(signatures: &[Signature], sample: &Sample<'_>) -> Verdict {
    let mut verdict = Verdict::No;
    for (application, fits) in signatures {
        match fits(sample) {
            Fit::Yes => return Verdict::Is(*application),
            Fit::More => verdict = Verdict::More,
            Fit::No => {}
        }
    }
    verdict
}

/// Does it begin with `start`, as far as it goes?
fn begins(payload: &[u8], start: &[u8]) -> Fit {
    if payload.starts_with(start) {
        Fit::Yes
    } else if start.starts_with(payload) {
        Fit::More
    } else {
        Fit::No
    }
}

/// Is `word` anywhere in `bytes`, in any case? For short words.
fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes
        .windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
