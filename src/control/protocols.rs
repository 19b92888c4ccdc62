//! `wirelynx protocols`: what can be asked about packets.

use super::Failure;
use crate::dissect::Protocol;
use crate::dissect::attribute::AttributeId;
use crate::output::alert::quoted;
use std::fmt::Write as _;
use std::io::Write as _;

/// Flags and arguments.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Protocol whose attributes to list
    name: Option<String>,
    /// table or json
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Print the registry, or one protocol of it.
///
/// # Errors
/// The protocol is unknown, or standard output is gone.
pub fn execute(options: &Options) -> Result<(), Failure> {
    let text = match (&options.name, options.format) {
        (None, Format::Table) => list(),
        (None, Format::Json) => {
            let all: Vec<String> = sorted().into_iter().map(as_json).collect();
            format!("[{}]\n", all.join(",\n "))
        }
        (Some(name), format) => {
            let protocol = find(name)?;
            match format {
                Format::Table => table(protocol),
                Format::Json => as_json(protocol) + "\n",
            }
        }
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn find(name: &str) -> Result<Protocol, Failure> {
    let known = || Protocol::ALL.iter().map(|protocol| protocol.name());
    Protocol::from_name(name).ok_or_else(|| super::unknown("protocol", name, known()))
}

fn sorted() -> Vec<Protocol> {
    let mut all = Protocol::ALL.to_vec();
    all.sort_by_key(|protocol| protocol.id());
    all
}

fn list() -> String {
    let mut text = String::from("  id  name        attributes  what\n");
    for protocol in sorted() {
        let definition = protocol.definition();
        let (id, name, title) = (definition.id, definition.name, definition.title);
        let count = definition.attributes.len();
        let _ = writeln!(text, "{id:>4}  {name:<10}  {count:>10}  {title}");
    }
    text
}

fn table(protocol: Protocol) -> String {
    let definition = protocol.definition();
    let mut text = format!(
        "{} ({}): {}\n",
        definition.name, definition.id, definition.title
    );
    text.push_str("  id  attribute                            type                 scope\n");
    for id in AttributeId::all_of(protocol) {
        if let Some(attribute) = id.attribute() {
            let _ = writeln!(
                text,
                "{:>4}  {:<35}  {:<19}  {}",
                attribute.id,
                id.to_string(),
                attribute.kind.name(),
                attribute.scope.name()
            );
        }
    }
    text
}

fn as_json(protocol: Protocol) -> String {
    let definition = protocol.definition();
    let mut text = format!(
        "{{\"id\":{},\"name\":\"{}\",\"title\":",
        definition.id, definition.name
    );
    quoted(&mut text, definition.title);
    text.push_str(",\"attributes\":[");
    for (index, id) in AttributeId::all_of(protocol).enumerate() {
        if let Some(attribute) = id.attribute() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(
                text,
                "{comma}{{\"id\":{},\"name\":\"{}\",\"type\":\"{}\",\"scope\":\"{}\"}}",
                attribute.id,
                attribute.name,
                attribute.kind.name(),
                attribute.scope.name()
            );
        }
    }
    text.push_str("]}");
    text
}
