//! Every bound of the data path, with its reason. Configuration may lower or raise those that a
//! field of `config::Limits` names; the rest are fixed.

/// Frames in one burst: large enough that the vector receive paths of the Intel drivers work, small
/// enough that a burst's headers and facts stay in the first-level cache.
pub const BURST_MAX: usize = 32;

/// Headers of one packet. Deeper nesting is an attack on whoever unpacks it recursively.
pub const LAYERS_MAX: usize = 16;

/// Extension headers of one IPv6 header. RFC 8200 names six kinds and lets one occur twice; without
/// a bound, a frame full of them costs as much time as a thousand ordinary ones.
pub const EXTENSION_HEADERS_MAX: usize = 16;

/// Largest frame accepted from a capture file: the largest snapshot length that libpcap writes.
pub const FRAME_LENGTH_MAX: usize = 262_144;

/// Bytes of a capture file held in memory at a time: room for the largest frame with its record
/// header and generous options, and enough that a system call per refill costs nothing per packet.
/// A block with a packet that is longer than this is damage.
pub const CAPTURE_BUFFER_LENGTH: usize = 1 << 20;

/// Capture files read at the same time, by the time of their frames. Each has a buffer of
/// [`CAPTURE_BUFFER_LENGTH`], a copy of at most as much, and a file descriptor, of which a process
/// often has no more than this.
pub const MERGED_FILES_MAX: usize = 1_024;

/// Interfaces of one section of a pcapng file: what [`crate::packet::Frame::port`] can tell apart.
/// Without a bound, a file of nothing but interface descriptions would fill the memory.
pub const CAPTURE_INTERFACES_MAX: usize = 65_536;

/// Largest IP datagram (RFC 791, RFC 8200 without jumbograms).
pub const DATAGRAM_LENGTH_MAX: usize = 65_535;

/// Largest frame accepted from a live port: the largest datagram, which a kernel that merges
/// segments does build, and room for the headers of its link. Every receive queue has room for one
/// burst of them, so this also bounds what a flood of jumbo frames costs.
pub const LIVE_FRAME_LENGTH_MAX: usize = DATAGRAM_LENGTH_MAX + 65;

/// Events of one property: the width of the sets that joins keep of bound events.
pub const EVENTS_MAX: usize = 63;

/// Depth of operators in one property and of parentheses in one expression: the parsers recurse.
pub const NESTING_MAX: usize = 64;

/// Size of one rule file in bytes. The published ones have at most some kilobytes.
pub const RULE_FILE_MAX: usize = 4 << 20;

/// Bytes of one expression. The longest published one has 417 characters.
pub const EXPRESSION_MAX: usize = 64 << 10;

/// Properties of one rule file, as in MMT.
pub const PROPERTIES_MAX: usize = 100_000;

/// Rule files that one command line may name or find in folders.
pub const RULE_FILES_MAX: usize = 100_000;

/// Findings kept of one rule file. Nobody reads on after some hundred; a broken generator makes one
/// for each line.
pub const DIAGNOSTICS_MAX: usize = 1_000;

/// Length in bytes of the events of one rule file that repetitions make more of: as much as a file
/// without them can have.
pub const REPEATED_MAX: u64 = 4 << 20;

/// Size of one list file in bytes: room for ten million networks of IPv6 as they are written.
pub const LIST_FILE_MAX: u64 = 512 << 20;

/// Entries of one list file. An IPv4 address takes 8 bytes, one of IPv6 32, a text 8 and its own.
pub const LIST_ENTRIES_MAX: usize = 20_000_000;

/// Memory of all lists of one set of rules in bytes.
pub const LISTS_BYTES_MAX: usize = 2 << 30;

/// Lists loaded at the same time. Each is a name in some rule.
pub const LISTS_MAX: usize = 1_024;

/// Memory of the automaton of one regular expression in bytes, and of each step of making it.
/// Patterns of rules take some KiB; what takes more grows exponentially with its repetitions.
/// Making one of this size takes some milliseconds.
pub const PATTERN_BYTES_MAX: usize = 128 << 10;

/// Memory of all automata of regular expressions in bytes.
pub const PATTERNS_BYTES_MAX: usize = 256 << 20;

/// Depth of groups in a regular expression.
pub const PATTERN_NESTING_MAX: u32 = 64;

/// Distinct attributes that all loaded rules together may use: the width of presence masks.
pub const ATTRIBUTES_USED_MAX: usize = 256;

/// Bytes kept of a text or binary attribute value that an alert prints or a later event compares;
/// equality also compares the full length and a 64-bit hash of all bytes.
pub const VALUE_BYTES_MAX: usize = 256;

/// Farthest end of a fragment's payload: the last offset that the field can hold (8 * 8191) and the
/// longest payload of one packet. Beyond [`DATAGRAM_LENGTH_MAX`] it is an attack, which rules must
/// see.
pub const FRAGMENT_END_MAX: usize = 8 * 8191 + DATAGRAM_LENGTH_MAX;

/// Bytes of headers kept before a reassembled payload: link layer, tunnels and the IP header
/// itself. Sixteen headers ([`LAYERS_MAX`]) of 64 bytes; real tunnels need 200.
pub const FRAGMENT_HEADERS_MAX: usize = 1_024;

/// Bytes of one block of the pools for stream bytes: one Ethernet segment with its payload.
pub const BLOCK_BYTES: usize = 2_048;

/// Blocks of out-of-order bytes that one direction of a flow may hold (256 KiB): a usual window.
/// Without it one flow with a hole in front would take the pool of all others.
pub const BLOCKS_PER_SIDE_MAX: u16 = 128;

/// Bytes of one HTTP header block. Servers take 8 to 64 KiB; what is beyond could hide nothing that
/// they act on.
pub const HTTP_HEAD_BYTES_MAX: usize = 65_536;

/// Lines of one HTTP header block, as MMT bounds it.
pub const HTTP_HEAD_LINES_MAX: u16 = 200;

/// Bytes of one line of a chunked HTTP body (the size and its extensions).
pub const HTTP_CHUNK_LINE_MAX: u16 = 4_096;

/// Bytes of one FTP command or reply, continuation lines included.
pub const FTP_MESSAGE_MAX: usize = 8_192;

/// Stream bytes looked at, per direction, to name the application of a flow: the request line of
/// HTTP is the longest thing looked for.
pub const DETECT_BYTES_MAX: usize = 8_192;

/// Application messages of one packet that rules see. A 64 KiB packet of pipelined requests holds
/// thousands; the others are counted.
pub const MESSAGES_PER_PACKET_MAX: usize = 8;

/// Bytes for messages of one burst that are not in one piece in their frame: as many as there can
/// be, so that no message is lost to others that happen to be in its burst. Memory is taken as
/// needed.
pub const MESSAGE_ARENA_BYTES: usize = BURST_MAX * MESSAGES_PER_PACKET_MAX * HTTP_HEAD_BYTES_MAX;

const _: () = assert!(HTTP_HEAD_BYTES_MAX >= FTP_MESSAGE_MAX);
const _: () = assert!(BURST_MAX.is_power_of_two());
const _: () = assert!(EVENTS_MAX < 64);
const _: () = assert!(DATAGRAM_LENGTH_MAX < FRAME_LENGTH_MAX);
const _: () = assert!(2 * FRAME_LENGTH_MAX <= CAPTURE_BUFFER_LENGTH);
