//! Alerts as text: one JSON object a line, or MMT's CSV line.

use super::limit::{Fields, Summary};
use super::time::Iso8601;
use crate::dissect::attribute::Type;
use crate::expr::evaluate::Scalar;
use crate::packet::Timestamp;
use crate::rules::joins::Alert;
use crate::rules::program::{Event, Program};
use crate::rules::record;
use crate::rules::verdict::Verdict;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of a text value that the MMT format prints.
const CSV_TEXT_MAX: usize = 255;
/// Bytes of a history that the MMT format prints.
const CSV_HISTORY_MAX: usize = 10_000;

/// Which text an alert becomes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line; docs/alert.schema.json.
    #[default]
    Json,
    /// MMT's report 10.
    MmtCsv,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "mmt-csv" => Ok(Self::MmtCsv),
            other => Err(format!(
                "unknown alert format '{other}'; expected json or mmt-csv"
            )),
        }
    }
}

/// Append one alert of `program` to `line`, without a line end.
pub fn write(line: &mut String, format: Format, program: &Program, alert: &Alert) {
    match format {
        Format::Json => write_json(line, program, alert),
        Format::MmtCsv => write_csv(line, program, alert, 0),
    }
}

/// Append what is said of suppressed alerts to `line`, without a line end.
pub fn write_summary(line: &mut String, format: Format, summary: &Summary) {
    let place = usize::try_from(summary.alert.rule).unwrap_or(usize::MAX);
    let Some(program) = summary.rules.programs.get(place) else {
        return;
    };
    match format {
        Format::Json => write_json_summary(line, program, summary),
        Format::MmtCsv => write_csv(line, program, &summary.alert, summary.suppressed),
    }
}

/// The line of one alert, which may be the last of several that were suppressed.
fn write_csv(line: &mut String, program: &Program, alert: &Alert, suppressed: u64) {
    let property = &program.property;
    let _ = write!(
        line,
        "10,0,\"\",{},{},\"{}\",\"{}\",\"",
        alert.timestamp,
        property.id,
        alert.verdict.name(),
        property.kind.name()
    );
    // A quotation mark would end the column.
    line.extend(
        property
            .description
            .chars()
            .map(|c| if c == '"' { '\'' } else { c }),
    );
    if suppressed > 0 {
        let _ = write!(line, " (alerts suppressed: {suppressed})");
    }
    line.push_str("\",");
    let start = line.len();
    history(line, program, alert);
    if line.len() - start > CSV_HISTORY_MAX {
        let end = (0..=CSV_HISTORY_MAX)
            .rev()
            .find(|n| line.is_char_boundary(start + n));
        line.truncate(start + end.unwrap_or(0));
    }
}

fn history(line: &mut String, program: &Program, alert: &Alert) {
    line.push('{');
    let mut separator = "";
    if alert.timed_out {
        let (time, packet) = (alert.timestamp, alert.packet);
        let _ = write!(
            line,
            "\"event_0\":{{\"timestamp\":{time},\"counter\":{packet},\"attributes\":[]}}"
        );
        separator = ",";
    }
    for (number, event, record) in bound_events(program, alert) {
        let (time, packet) = (record::timestamp(record), record::number(record));
        let _ = write!(
            line,
            "{separator}\"event_{number}\":{{\"timestamp\":{time},\"counter\":{packet},\"attributes\":["
        );
        separator = ",";
        let mut comma = "";
        for (position, field) in event.layout.fields.iter().enumerate() {
            let value = event.layout.read(record, position);
            if !matches!(value, Scalar::Absent) && !field.attribute.is_hidden() {
                let _ = write!(line, "{comma}[\"{}\",", field.attribute);
                csv_value(line, field.attribute.kind(), value);
                line.push(']');
                comma = ",";
            }
        }
        line.push_str("]}");
    }
    line.push('}');
}

/// Events in ascending order with their records.
fn bound_events<'a>(
    program: &'a Program,
    alert: &'a Alert,
) -> impl Iterator<Item = (u8, &'a Event, &'a [u8])> {
    (1..)
        .zip(&program.events)
        .filter(|(number, _)| alert.bound & 1 << number != 0)
        .filter_map(|(number, event)| {
            let end = event.offset.checked_add(event.layout.size)?;
            Some((number, event, alert.record.get(event.offset..end)?))
        })
}

fn csv_value(line: &mut String, kind: Type, value: Scalar<'_>) {
    match (kind, value) {
        (Type::Path, _) => line.push_str("\".\""),
        (_, Scalar::Text(text)) if !is_shaped(kind) => {
            let end = memchr::memchr(0, text.bytes)
                .unwrap_or(text.bytes.len())
                .min(CSV_TEXT_MAX);
            line.push('"');
            line.extend(text.bytes.iter().take(end).map(|byte| match byte {
                b'"' | b'\\' => '.',
                0x20..=0x7e => char::from(*byte),
                _ => '.',
            }));
            line.push('"');
        }
        (_, value) => shaped(line, kind, value),
    }
}

/// Has the type a text form of its own?
const fn is_shaped(kind: Type) -> bool {
    matches!(
        kind,
        Type::IpAddr
            | Type::Ip6Addr
            | Type::MacAddr
            | Type::U16Array
            | Type::U32Array
            | Type::U64Array
            | Type::Path
    )
}

/// Numbers, times, addresses and arrays: the same in both formats.
fn shaped(line: &mut String, kind: Type, value: Scalar<'_>) {
    let _ = match (kind, value) {
        (Type::Timeval, Scalar::Number(us)) => {
            write!(line, "{}.{:06}", us / 1_000_000, us % 1_000_000)
        }
        (_, Scalar::Number(number)) => write!(line, "{number}"),
        (_, Scalar::Float(number)) if number.is_finite() => write!(line, "{number}"),
        (_, Scalar::Text(text)) => write_bytes(line, kind, text.bytes),
        _ => line.write_str("null"),
    };
}

fn write_bytes(line: &mut String, kind: Type, bytes: &[u8]) -> std::fmt::Result {
    match (kind, bytes) {
        (Type::IpAddr, [a, b, c, d]) => write!(line, "\"{}\"", Ipv4Addr::new(*a, *b, *c, *d)),
        (Type::Ip6Addr, bytes) => match <[u8; 16]>::try_from(bytes) {
            Ok(address) => write!(line, "\"{}\"", Ipv6Addr::from(address)),
            Err(_) => line.write_str("null"),
        },
        (Type::MacAddr, [a, b, c, d, e, f]) => {
            write!(line, "\"{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}\"")
        }
        (Type::U16Array | Type::Path, bytes) => write_array(line, bytes, 2),
        (Type::U32Array, bytes) => write_array(line, bytes, 4),
        (Type::U64Array, bytes) => write_array(line, bytes, 8),
        _ => line.write_str("null"),
    }
}

fn write_array(line: &mut String, bytes: &[u8], width: usize) -> std::fmt::Result {
    line.push('[');
    for (index, item) in bytes.chunks_exact(width).enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let number = item
            .iter()
            .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        write!(line, "{comma}{number}")?;
    }
    line.write_char(']')
}

/// Everything up to the description.
fn begin_json(line: &mut String, timestamp: Timestamp, program: &Program, verdict: Verdict) {
    let property = &program.property;
    let _ = write!(
        line,
        "{{\"timestamp\":\"{}\",\"event_type\":\"alert\",\"alert\":{{\"rule_id\":{},\"verdict\":\"{}\",\
         \"type\":\"{}\",\"description\":",
        Iso8601(timestamp),
        property.id,
        verdict.name(),
        property.kind.name(),
    );
    quoted(line, &property.description);
}

fn write_json_summary(line: &mut String, program: &Program, summary: &Summary) {
    let alert = &summary.alert;
    begin_json(line, summary.timestamp, program, alert.verdict);
    let _ = write!(
        line,
        ",\"suppressed\":{},\"first\":\"{}\",\"last\":\"{}\",\"key\":{{",
        summary.suppressed,
        Iso8601(summary.first),
        Iso8601(summary.last),
    );
    let fields = Fields::of(program, alert.bound);
    if let Some(event) = fields.event {
        let record = alert.record.get(event.offset..).unwrap_or(&[]);
        let positions = fields.positions.iter().map(|at| usize::from(*at));
        json_values(line, event, record, positions);
    }
    line.push_str("},\"events\":[]}}");
}

fn write_json(line: &mut String, program: &Program, alert: &Alert) {
    begin_json(line, alert.timestamp, program, alert.verdict);
    if alert.timed_out {
        line.push_str(",\"timed_out\":true");
    } else {
        let _ = write!(line, ",\"packet\":{}", alert.packet);
    }
    line.push_str(",\"events\":[");
    let mut separator = "";
    for (number, event, record) in bound_events(program, alert) {
        let _ = write!(
            line,
            "{separator}{{\"event\":{number},\"timestamp\":\"{}\",\"packet\":{},\"attributes\":{{",
            Iso8601(record::timestamp(record)),
            record::number(record)
        );
        separator = ",";
        json_values(line, event, record, 0..event.layout.fields.len());
        line.push_str("}}");
    }
    line.push_str("]}}");
}

/// Members of an object: the values that are there, of these fields.
fn json_values(
    line: &mut String,
    event: &Event,
    record: &[u8],
    positions: impl Iterator<Item = usize>,
) {
    let mut comma = "";
    for position in positions {
        let value = event.layout.read(record, position);
        if let Some(field) = event.layout.fields.get(position)
            && !matches!(value, Scalar::Absent)
            && !field.attribute.is_hidden()
        {
            let _ = write!(line, "{comma}\"{}\":", field.attribute);
            json_value(line, field.attribute.kind(), value);
            comma = ",";
        }
    }
}

/// A value as JSON: text as text where it is UTF-8, with what is not replaced.
pub fn json_value(line: &mut String, kind: Type, value: Scalar<'_>) {
    match value {
        Scalar::Text(text) if !is_shaped(kind) => {
            quoted(line, &String::from_utf8_lossy(text.bytes));
        }
        value => shaped(line, kind, value),
    }
}

/// A JSON string.
pub fn quoted(line: &mut String, text: &str) {
    line.push('"');
    for character in text.chars() {
        let _ = match character {
            '"' => line.write_str("\\\""),
            '\\' => line.write_str("\\\\"),
            '\n' => line.write_str("\\n"),
            '\r' => line.write_str("\\r"),
            '\t' => line.write_str("\\t"),
            control if control < ' ' => write!(line, "\\u{:04x}", u32::from(control)),
            other => line.write_char(other),
        };
    }
    line.push('"');
}
