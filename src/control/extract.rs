//! `wirelynx extract`: attribute values of every packet.

use super::Failure;
use super::read::parse_filter;
use crate::capture::{Burst, Capture, Progress, file};
use crate::dissect::attribute::{AttributeId, Type, Value, View};
use crate::expr::Mode;
use crate::expr::evaluate::{Scalar, Text};
use crate::output::Event;
use crate::output::alert::json_value;
use crate::rules::RuleSet;
use crate::worker::{Scope, Settings, Sink, Worker};
use std::io::{BufWriter, Write};
use std::sync::Arc;

/// Shown under `--help`.
pub const EXAMPLES: &str = "Examples:
  wirelynx extract trace.pcap --fields meta.packet_index,ip.src,ip.dst,tcp.flags
  wirelynx extract trace.pcap --fields http.host,http.uri --filter '(tcp.dest_port == 80)' --format json";

/// Flags and arguments.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Capture file: pcap or pcapng, plain or gzip; - for standard input
    trace: String,
    /// Attributes, separated by commas, as protocol.attribute
    #[arg(long, value_name = "FIELDS", required = true, value_delimiter = ',')]
    fields: Vec<String>,
    /// Only packets for which this expression holds
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// csv or json
    #[arg(long, default_value = "csv")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Csv,
    Json,
}

/// Print one line for each packet that has any of the fields (CSV: for each packet).
///
/// # Errors
/// A field is unknown, the file is no capture, or standard output is gone.
pub fn execute(options: &Options) -> Result<(), Failure> {
    let fields = resolve(&options.fields)?;
    let filter = options.filter.as_deref().map(parse_filter).transpose()?;
    let rules = Arc::new(RuleSet::new(Vec::new(), Mode::Standard).0);
    let settings = Settings {
        seed: super::seed(),
        filter,
        totals: true,
        ..Settings::default()
    };
    let mut worker = Worker::new(rules, &settings, Scope::Rules);
    let mut source = file::open(&options.trace)?;
    let output = BufWriter::new(std::io::stdout());
    let mut printer = Printer {
        fields,
        format: options.format,
        output,
        line: String::new(),
        failed: None,
    };
    printer.header()?;
    loop {
        let mut burst = Burst::new();
        let received = source.receive(&mut burst)?;
        worker.burst(burst, &mut printer);
        if let Some(error) = printer.failed.take() {
            return Err(error.into());
        }
        if received == Progress::End {
            break;
        }
    }
    printer.output.flush()?;
    if let Some(damage) = source.warning() {
        tracing::warn!("{}: {damage}", options.trace);
    }
    Ok(())
}

fn resolve(names: &[String]) -> Result<Vec<AttributeId>, Failure> {
    let unknown = |name: &String| {
        let known: Vec<String> = crate::dissect::Protocol::ALL
            .iter()
            .flat_map(|protocol| AttributeId::all_of(*protocol))
            .map(|id| id.to_string())
            .collect();
        super::unknown("attribute", name, known.iter().map(String::as_str))
    };
    let find = |name: &String| {
        let (protocol, attribute) = name.split_once('.')?;
        AttributeId::from_names(protocol, attribute)
    };
    names
        .iter()
        .map(|name| find(name).ok_or_else(|| unknown(name)))
        .collect()
}

struct Printer<W: Write> {
    fields: Vec<AttributeId>,
    format: Format,
    output: W,
    line: String,
    failed: Option<std::io::Error>,
}

impl<W: Write> Printer<W> {
    fn header(&mut self) -> Result<(), Failure> {
        if self.format == Format::Csv {
            let names: Vec<String> = self.fields.iter().map(ToString::to_string).collect();
            writeln!(self.output, "{}", names.join(","))?;
        }
        Ok(())
    }

    fn csv(&mut self, view: &View<'_>) {
        for (index, id) in self.fields.iter().enumerate() {
            if index > 0 {
                self.line.push(',');
            }
            if let Some(value) = view.extract(*id) {
                let mut text = String::new();
                print(&mut text, id.kind(), value);
                // JSON quotes text as CSV does not: the inner quotation marks double there.
                match text
                    .strip_prefix('"')
                    .and_then(|text| text.strip_suffix('"'))
                {
                    Some(inner) if !inner.contains(['"', ',', '\\']) => self.line.push_str(inner),
                    Some(inner) => {
                        self.line.push('"');
                        self.line.push_str(&inner.replace("\\\"", "\"\""));
                        self.line.push('"');
                    }
                    None => self.line.push_str(&text),
                }
            }
        }
    }

    fn json(&mut self, view: &View<'_>) {
        let mut comma = "{";
        for id in &self.fields {
            if let Some(value) = view.extract(*id) {
                self.line.push_str(comma);
                self.line.push('"');
                self.line.push_str(&id.to_string());
                self.line.push_str("\":");
                print(&mut self.line, id.kind(), value);
                comma = ",";
            }
        }
        if !self.line.is_empty() {
            self.line.push('}');
        }
    }
}

impl<W: Write> Sink for Printer<W> {
    fn event(&mut self, _: Event) {}

    fn packet(&mut self, view: &View<'_>) {
        if self.failed.is_some() {
            return;
        }
        self.line.clear();
        match self.format {
            Format::Csv => self.csv(view),
            Format::Json => self.json(view),
        }
        if self.format == Format::Csv || !self.line.is_empty() {
            self.line.push('\n');
            self.failed = self.output.write_all(self.line.as_bytes()).err();
        }
    }
}

/// A value as JSON; a protocol path as ids joined by dots.
fn print(line: &mut String, kind: Type, value: Value<'_>) {
    match value {
        Value::Path(layers) => {
            let ids: Vec<String> = layers
                .iter()
                .map(|layer| layer.protocol.id().to_string())
                .collect();
            line.push('"');
            line.push_str(&ids.join("."));
            line.push('"');
        }
        Value::Number(number) => json_value(line, kind, Scalar::Number(i128::from(number))),
        Value::Float(number) => json_value(line, kind, Scalar::Float(number)),
        Value::Bytes(bytes) => json_value(line, kind, Scalar::Text(Text::whole(bytes))),
    }
}
