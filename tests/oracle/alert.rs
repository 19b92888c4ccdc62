//! A verdict with what led to it, as both evaluators say it.

use crate::expression::{Datum, Values};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use wirelynx::dissect::attribute::{AttributeId, Type};

/// What was seen when an event came.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) time_us: u64,
    pub(crate) packet: u64,
    /// Of the attributes that belong to the event, those that the packet had.
    pub(crate) values: Values,
}

/// The events that an attempt has seen.
pub(crate) type Events = BTreeMap<u8, Rc<Seen>>;

/// One verdict. Both evaluators' are brought into this form, and this form is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alert {
    /// Of the packet that decided, or the deadline that passed.
    pub(crate) time_us: u64,
    /// Of the packet that decided; 0 for a deadline.
    pub(crate) packet: u64,
    pub(crate) verdict: &'static str,
    /// What has been seen, as the text format of alerts prints it.
    pub(crate) history: String,
}

/// The history of an alert: the object at the end of its line in MMT's text format.
pub(crate) fn history(deadline_us: Option<u64>, events: &Events) -> String {
    let mut text = "{".to_owned();
    if let Some(deadline_us) = deadline_us {
        let time = seconds(i128::from(deadline_us));
        let _ = write!(
            text,
            "\"event_0\":{{\"timestamp\":{time},\"counter\":0,\"attributes\":[]}},"
        );
    }
    for (number, seen) in events {
        let mut values: Vec<(&AttributeId, &Datum)> = seen.values.iter().collect();
        values.sort_by_key(|(id, _)| id.sort_key());
        let values: Vec<String> = values
            .into_iter()
            .map(|(id, datum)| format!("[\"{id}\",{}]", shown(*id, datum)))
            .collect();
        let (time, packet) = (seconds(i128::from(seen.time_us)), seen.packet);
        let _ = write!(
            text,
            "\"event_{number}\":{{\"timestamp\":{time},\"counter\":{packet},\"attributes\":[{}]}},",
            values.join(",")
        );
    }
    format!("{}}}", text.trim_end_matches(','))
}

fn seconds(us: i128) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// A value as the text format prints it.
pub(crate) fn shown(id: AttributeId, datum: &Datum) -> String {
    match (id.kind(), datum) {
        (Type::Timeval, Datum::Number(us)) => seconds(*us),
        (_, Datum::Number(number)) => number.to_string(),
        (Type::IpAddr, Datum::Bytes(bytes)) => {
            let parts: Vec<String> = bytes.iter().map(u8::to_string).collect();
            format!("\"{}\"", parts.join("."))
        }
        (Type::MacAddr, Datum::Bytes(bytes)) => {
            let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\"{}\"", parts.join(":"))
        }
        (_, Datum::Bytes(bytes)) => {
            let kept = bytes.iter().take(255).take_while(|byte| **byte != 0);
            let text: String = kept
                .map(|byte| match byte {
                    b'"' | b'\\' => '.',
                    0x20..=0x7e => char::from(*byte),
                    _ => '.',
                })
                .collect();
            format!("\"{text}\"")
        }
    }
}
