//! Every bound of the data path, with its reason. Configuration may lower or raise those that a
//! field of `config::Limits` names; the rest are fixed.

/// Frames in one burst: large enough that the vector receive paths of the Intel drivers work, small
/// enough that a burst's headers and facts stay in the first-level cache.
pub const BURST_MAX: usize = 32;

/// Headers of one packet. Deeper nesting is an attack on whoever unpacks it recursively.
pub const LAYERS_MAX: usize = 16;

/// Extension headers of one IPv6 header. RFC 8200 names six kinds and lets one occur twice; without a
/// bound, a frame full of them costs as much time as a thousand ordinary ones.
pub const EXTENSION_HEADERS_MAX: usize = 16;

/// Largest frame accepted from a capture file: the largest snapshot length that libpcap writes.
pub const FRAME_LENGTH_MAX: usize = 262_144;

/// Bytes of a capture file held in memory at a time: room for the largest frame with its record
/// header and generous options, and enough that a system call per refill costs nothing per packet.
/// A block with a packet that is longer than this is damage.
pub const CAPTURE_BUFFER_LENGTH: usize = 1 << 20;

/// Interfaces of one section of a pcapng file: what [`crate::packet::Frame::port`] can tell apart.
/// Without a bound, a file of nothing but interface descriptions would fill the memory.
pub const CAPTURE_INTERFACES_MAX: usize = 65_536;

/// Largest IP datagram (RFC 791, RFC 8200 without jumbograms).
pub const DATAGRAM_LENGTH_MAX: usize = 65_535;

/// Events of one property: the width of the sets that joins keep of bound events.
pub const EVENTS_MAX: usize = 63;

/// Depth of operators in one property and of parentheses in one expression: the parsers recurse.
pub const NESTING_MAX: usize = 64;

/// Size of one rule file in bytes. The published ones have at most some kilobytes.
pub const RULE_FILE_MAX: usize = 4 << 20;

/// Distinct attributes that all loaded rules together may use: the width of presence masks.
pub const ATTRIBUTES_USED_MAX: usize = 256;

/// Bytes kept of a text or binary attribute value that an alert prints or a later event compares;
/// equality also compares the full length and a 64-bit hash of all bytes.
pub const VALUE_BYTES_MAX: usize = 256;

const _: () = assert!(BURST_MAX.is_power_of_two());
const _: () = assert!(EVENTS_MAX < 64);
const _: () = assert!(DATAGRAM_LENGTH_MAX < FRAME_LENGTH_MAX);
const _: () = assert!(2 * FRAME_LENGTH_MAX <= CAPTURE_BUFFER_LENGTH);
