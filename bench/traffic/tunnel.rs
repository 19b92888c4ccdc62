//! Modifiers that put the frames of a statement into a tunnel or behind a tag.

use super::packet::{
    ETHER_IPV4, ETHER_IPV6, ETHERNET_LENGTH, PROTOCOL_UDP, Path, fold, ip_frame, put, short,
    short_at, sum, udp,
};
use super::text::{Error, Segment};
use super::world::{Frame, World};

/// Options of the tunnels over UDP and GRE beside those of IP.
pub(crate) const GRE_OPTIONS: &[&str] = &["key", "sequence", "checksum", "version", "ethernet"];

const ETHER_TRANSPARENT: u16 = 0x6558;
const PROTOCOL_IPV4: u8 = 4;
const PROTOCOL_IPV6: u8 = 41;
const PROTOCOL_GRE: u8 = 47;

/// A frame taken apart behind its addresses.
struct Parts<'a> {
    addresses: &'a [u8],
    ether_type: u16,
    payload: &'a [u8],
}

fn parts<'a>(segment: &Segment, frame: &'a Frame) -> Result<Parts<'a>, Error> {
    let split = frame.data.split_at_checked(ETHERNET_LENGTH);
    let (header, payload) = split.ok_or_else(|| {
        let keyword = &segment.keyword;
        keyword.error("cannot wrap a frame that is shorter than an Ethernet header")
    })?;
    Ok(Parts {
        addresses: header.get(..12).unwrap_or(header),
        ether_type: short_at(header, 12),
        payload,
    })
}

/// As [`parts`], for what carries IP packets alone.
fn ip_parts<'a>(segment: &Segment, frame: &'a Frame) -> Result<Parts<'a>, Error> {
    let parts = parts(segment, frame)?;
    if matches!(parts.ether_type, ETHER_IPV4 | ETHER_IPV6) {
        return Ok(parts);
    }
    let keyword = &segment.keyword;
    Err(keyword.error(format!(
        "`{}` carries IP packets, not EtherType {:#06x}",
        keyword.text, parts.ether_type
    )))
}

/// Put `tag` between the addresses and the EtherType.
fn tagged(frame: &Frame, parts: &Parts<'_>, tag: &[u8], rest: &[u8]) -> Frame {
    frame.with([parts.addresses, tag, rest].concat())
}

/// `vlan id=N`: one 802.1Q tag.
pub(crate) fn vlan(
    _: &mut World,
    segment: &Segment,
    frames: Vec<Frame>,
) -> Result<Vec<Frame>, Error> {
    let id: u16 = segment.number("id", 0xfff, 1)?;
    let priority: u16 = segment.number("priority", 7, 0)?;
    let tpid: u16 = segment.number("tpid", 0xffff, 0x8100)?;
    let tag = [tpid, (priority << 13) | id].map(u16::to_be_bytes);
    let wrap = |frame: &Frame| {
        let parts = parts(segment, frame)?;
        let rest = frame.data.get(12..).unwrap_or(&[]);
        Ok(tagged(frame, &parts, tag.as_flattened(), rest))
    };
    frames.iter().map(wrap).collect()
}

/// `qinq outer=N inner=M`: a service tag and a customer tag (802.1ad).
pub(crate) fn qinq(
    _: &mut World,
    segment: &Segment,
    frames: Vec<Frame>,
) -> Result<Vec<Frame>, Error> {
    let outer: u16 = segment.number("outer", 0xfff, 1)?;
    let inner: u16 = segment.number("inner", 0xfff, 2)?;
    let tags = [0x88a8, outer, 0x8100, inner].map(u16::to_be_bytes);
    let wrap = |frame: &Frame| {
        let parts = parts(segment, frame)?;
        let rest = frame.data.get(12..).unwrap_or(&[]);
        Ok(tagged(frame, &parts, tags.as_flattened(), rest))
    };
    frames.iter().map(wrap).collect()
}

/// `mpls label=N label=M`: a label stack, the last one at its bottom (RFC 3032).
pub(crate) fn mpls(
    _: &mut World,
    segment: &Segment,
    frames: Vec<Frame>,
) -> Result<Vec<Frame>, Error> {
    let ttl: u32 = segment.number("ttl", 255, 64)?;
    let mut labels: Vec<u32> = Vec::new();
    for word in segment.options("label") {
        labels.push(word.integer(0xf_ffff)?);
    }
    if labels.is_empty() {
        labels.push(16);
    }
    let mut tag = 0x8847_u16.to_be_bytes().to_vec();
    for (index, label) in labels.iter().enumerate() {
        let bottom = u32::from(index + 1 == labels.len());
        tag.extend(((label << 12) | (bottom << 8) | ttl).to_be_bytes());
    }
    let wrap = |frame: &Frame| {
        let parts = ip_parts(segment, frame)?;
        Ok(tagged(frame, &parts, &tag, parts.payload))
    };
    frames.iter().map(wrap).collect()
}

/// `pppoe session=N`: a PPPoE session over PPP (RFC 2516).
pub(crate) fn pppoe(
    _: &mut World,
    segment: &Segment,
    frames: Vec<Frame>,
) -> Result<Vec<Frame>, Error> {
    let session: u16 = segment.number("session", 0xffff, 1)?;
    let wrap = |frame: &Frame| {
        let parts = ip_parts(segment, frame)?;
        let protocol = if parts.ether_type == ETHER_IPV4 {
            0x0021
        } else {
            0x0057
        };
        let length = short(parts.payload.len() + 2);
        let tag = [0x8864, 0x1100, session, length, protocol].map(u16::to_be_bytes);
        Ok(tagged(frame, &parts, tag.as_flattened(), parts.payload))
    };
    frames.iter().map(wrap).collect()
}

/// Wrap each frame into an IP packet between the ends of a tunnel; replies run from B to A.
fn outer(
    world: &mut World,
    segment: &Segment,
    frames: Vec<Frame>,
    mut body: impl FnMut(&mut World, &Path, &Frame) -> Result<(u8, Vec<u8>), Error>,
) -> Result<Vec<Frame>, Error> {
    let forth = world.path(segment)?;
    let mut wrapped = Vec::with_capacity(frames.len());
    for frame in &frames {
        let path = if frame.reply { forth.reverse() } else { forth };
        let (protocol, payload) = body(world, &path, frame)?;
        let fields = world.ip_fields(segment)?;
        wrapped.push(frame.with(ip_frame(&path, &fields, protocol, &payload)));
    }
    Ok(wrapped)
}

/// `ipip A B`: IP in IP (RFC 2003, RFC 4213, RFC 2473), `6in4` for IPv6 packets only.
pub(crate) fn ipip(
    world: &mut World,
    segment: &Segment,
    frames: Vec<Frame>,
) -> Result<Vec<Frame>, Error> {
    let only_v6 = segment.keyword.text == "6in4";
    outer(world, segment, frames, |_, _, frame| {
        let parts = ip_parts(segment, frame)?;
        match parts.ether_type {
            ETHER_IPV6 => Ok((PROTOCOL_IPV6, parts.payload.to_vec())),
            _ if only_v6 => Err(segment.keyword.error("6in4 carries IPv6: add ip=6 inside")),
            _ => Ok((PROTOCOL_IPV4, parts.payload.to_vec())),
        }
    })
}

/// `gre A B`: GRE (RFC 2784, RFC 2890); the whole frame with `ethernet=yes`.
pub(crate) fn gre(
    world: &mut World,
    segment: &Segment,
    frames: Vec<Frame>,
) -> Result<Vec<Frame>, Error> {
    let key: Option<u32> = match segment.option("key") {
        Some(word) => Some(word.integer(u64::from(u32::MAX))?),
        None => None,
    };
    let whole = segment.flag("ethernet", false)?;
    let checksum = segment.flag("checksum", false)?;
    let sequence = segment.flag("sequence", false)?;
    let version: u16 = segment.number("version", 7, 0)?;
    let flags = (u16::from(checksum) << 15)
        | (u16::from(key.is_some()) << 13)
        | (u16::from(sequence) << 12)
        | version;
    let mut number = 0u32;
    outer(world, segment, frames, |_, _, frame| {
        let parts = parts(segment, frame)?;
        let (protocol, payload) = if whole {
            (ETHER_TRANSPARENT, frame.data.as_slice())
        } else {
            (parts.ether_type, parts.payload)
        };
        let mut packet = [flags, protocol].map(u16::to_be_bytes).concat();
        if checksum {
            packet.extend([0; 4]);
        }
        packet.extend(key.iter().flat_map(|key| key.to_be_bytes()));
        if sequence {
            packet.extend(number.to_be_bytes());
            number = number.wrapping_add(1);
        }
        packet.extend(payload);
        if checksum {
            let checksum = fold(sum(&packet));
            put(&mut packet, 4, &checksum.to_be_bytes());
        }
        Ok((PROTOCOL_GRE, packet))
    })
}

/// `erspan A B session=N`: ERSPAN type II over GRE with a sequence number.
pub(crate) fn erspan(
    world: &mut World,
    segment: &Segment,
    frames: Vec<Frame>,
) -> Result<Vec<Frame>, Error> {
    let session: u16 = segment.number("session", 0x3ff, 1)?;
    let vlan: u16 = segment.number("vlan", 0xfff, 0)?;
    let mut number = 0u32;
    outer(world, segment, frames, |_, _, frame| {
        let mut packet = [0x1000_u16, 0x88be].map(u16::to_be_bytes).concat();
        packet.extend(number.to_be_bytes());
        number = number.wrapping_add(1);
        let header = [0x1000 | vlan, session, 0, 0].map(u16::to_be_bytes);
        packet.extend(header.as_flattened());
        packet.extend(&frame.data);
        Ok((PROTOCOL_GRE, packet))
    })
}

/// Wrap the frame behind `header` into UDP; the source port scatters the flows inside.
fn over_udp(path: &Path, inner: &[u8], port: u16, header: &[u8], payload: &[u8]) -> (u8, Vec<u8>) {
    let entropy = inner.iter().skip(26).take(12).fold(0u16, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(u16::from(*byte))
    });
    let ports = [0xc000 | entropy, port];
    (PROTOCOL_UDP, udp(path, ports, &[header, payload].concat()))
}

/// `vxlan A B vni=N` (RFC 7348).
pub(crate) fn vxlan(
    world: &mut World,
    segment: &Segment,
    frames: Vec<Frame>,
) -> Result<Vec<Frame>, Error> {
    let vni: u32 = segment.number("vni", 0xff_ffff, 1)?;
    let header = [0x0800_0000, vni << 8].map(u32::to_be_bytes);
    outer(world, segment, frames, |_, path, frame| {
        let data = &frame.data;
        Ok(over_udp(path, data, 4789, header.as_flattened(), data))
    })
}

/// `geneve A B vni=N` (RFC 8926), without options.
pub(crate) fn geneve(
    world: &mut World,
    segment: &Segment,
    frames: Vec<Frame>,
) -> Result<Vec<Frame>, Error> {
    let vni: u32 = segment.number("vni", 0xff_ffff, 1)?;
    let header = [u32::from(ETHER_TRANSPARENT), vni << 8].map(u32::to_be_bytes);
    outer(world, segment, frames, |_, path, frame| {
        let data = &frame.data;
        Ok(over_udp(path, data, 6081, header.as_flattened(), data))
    })
}

/// `gtpu A B teid=N`: GTP version 1, user plane (3GPP TS 29.281).
pub(crate) fn gtpu(
    world: &mut World,
    segment: &Segment,
    frames: Vec<Frame>,
) -> Result<Vec<Frame>, Error> {
    let teid: u32 = segment.number("teid", u64::from(u32::MAX), 1)?;
    outer(world, segment, frames, |_, path, frame| {
        let parts = ip_parts(segment, frame)?;
        let length = u32::from(short(parts.payload.len()));
        let header = [0x30ff_0000 | length, teid].map(u32::to_be_bytes);
        let packet = udp(
            path,
            [2152, 2152],
            &[header.as_flattened(), parts.payload].concat(),
        );
        Ok((PROTOCOL_UDP, packet))
    })
}
