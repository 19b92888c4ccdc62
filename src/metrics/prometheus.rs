//! Counters as Prometheus text: names and types per the naming conventions, labels of few values.

mod flows;
mod given;
mod machine;
mod outputs;
mod ports;
mod rules;
mod workers;

use super::{Counters, Snapshot};
use crate::packet::{DropReason, Stop};
use prometheus::{
    CounterVec, Encoder, GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// The text of one scrape.
///
/// # Errors
/// The library refuses a name or a label: a fault of this table, which a test would show.
pub fn render(snapshot: &Snapshot) -> Result<String, prometheus::Error> {
    let families = Families {
        registry: Registry::new(),
    };
    packets(&families, snapshot)?;
    ports::add(&families, snapshot)?;
    workers::add(&families, snapshot)?;
    flows::add(&families, snapshot)?;
    rules::add(&families, snapshot)?;
    outputs::add(&families, snapshot)?;
    machine::add(&families, snapshot)?;
    families.gauge(
        "wirelynx_ready",
        "1 while links are up, rules are loaded and the program is not about to stop, else 0",
        &[],
        &[(&[], u64::from(snapshot.is_ready))],
    )?;
    families.gauge(
        "wirelynx_build_info",
        "Version of the program, and of DPDK as it is installed (none: built without); always 1",
        &["version", "revision", "dpdk"],
        &[(
            &[
                env!("CARGO_PKG_VERSION"),
                env!("WIRELYNX_REVISION"),
                &crate::capture::dpdk_version(),
            ],
            1,
        )],
    )?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&families.registry.gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

struct Families {
    registry: Registry,
}

type Samples<'a> = [(&'a [&'a str], u64)];

impl Families {
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        samples: &Samples<'_>,
    ) -> Result<(), prometheus::Error> {
        let family = IntCounterVec::new(Opts::new(name, help), labels)?;
        for (values, count) in samples {
            family.get_metric_with_label_values(values)?.inc_by(*count);
        }
        self.registry.register(Box::new(family))
    }

    fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        samples: &Samples<'_>,
    ) -> Result<(), prometheus::Error> {
        let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
        for (values, number) in samples {
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            family.get_metric_with_label_values(values)?.set(number);
        }
        self.registry.register(Box::new(family))
    }

    /// A counter without labels.
    fn count(&self, name: &str, help: &str, count: u64) -> Result<(), prometheus::Error> {
        self.counter(name, help, &[], &[(&[], count)])
    }

    /// A counter by one label.
    fn counts<'a>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Result<(), prometheus::Error> {
        let family = IntCounterVec::new(Opts::new(name, help), &[label])?;
        for (value, count) in samples {
            family.get_metric_with_label_values(&[value])?.inc_by(count);
        }
        self.registry.register(Box::new(family))
    }

    /// A gauge without labels.
    fn level(&self, name: &str, help: &str, number: u64) -> Result<(), prometheus::Error> {
        self.gauge(name, help, &[], &[(&[], number)])
    }

    /// A gauge by one label.
    fn levels<'a>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Result<(), prometheus::Error> {
        let family = IntGaugeVec::new(Opts::new(name, help), &[label])?;
        for (value, number) in samples {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            family.get_metric_with_label_values(&[value])?.set(number);
        }
        self.registry.register(Box::new(family))
    }

    /// A gauge with a fraction, by one label.
    fn fractions<'a>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> Result<(), prometheus::Error> {
        let family = GaugeVec::new(Opts::new(name, help), &[label])?;
        for (value, number) in samples {
            family.get_metric_with_label_values(&[value])?.set(number);
        }
        self.registry.register(Box::new(family))
    }

    /// A counter with a fraction, by one label.
    fn spent<'a>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> Result<(), prometheus::Error> {
        let family = CounterVec::new(Opts::new(name, help), &[label])?;
        for (value, number) in samples {
            // A counter takes nothing below 0, and a clock that was set could give it.
            let counter = family.get_metric_with_label_values(&[value])?;
            counter.inc_by(number.max(0.0));
        }
        self.registry.register(Box::new(family))
    }
}

/// Numbers from 0 on, as values of a label.
fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// Each with its number, as the value of a label.
fn numbered<T>(
    numbers: &[String],
    values: impl IntoIterator<Item = T>,
) -> impl Iterator<Item = (&str, T)> {
    numbers.iter().map(String::as_str).zip(values)
}

fn packets(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let account = snapshot.account();
    let sum = |of: fn(&Counters) -> u64| snapshot.workers.iter().map(of).sum::<u64>();
    families.count(
        "wirelynx_packets_received_total",
        "Packets that the capture gave, or could not give",
        account.received,
    )?;
    families.count(
        "wirelynx_received_bytes_total",
        "Captured bytes of the packets taken in",
        sum(|worker| worker.bytes),
    )?;
    families.count(
        "wirelynx_packets_passed_total",
        "Packets that went through every stage",
        account.passed,
    )?;
    let dropped = DropReason::ALL
        .iter()
        .map(|reason| reason.name())
        .zip(account.dropped);
    families.counts(
        "wirelynx_packets_dropped_total",
        "Packets that did not go through every stage, by reason",
        "reason",
        dropped,
    )?;
    families.counts(
        "wirelynx_packets_handed_over_total",
        "Packets that another worker got than that of their flow, and handed over to it, by reason",
        "reason",
        named(&snapshot.workers, |worker| {
            worker.handed_over.named().to_vec()
        }),
    )?;
    let stops = Stop::ALL.iter().enumerate().skip(1).map(|(index, stop)| {
        let count = |worker: &Counters| worker.stops.get(index).copied().unwrap_or(0);
        (stop.name(), snapshot.workers.iter().map(count).sum())
    });
    families.counts(
        "wirelynx_dissection_stops_total",
        "Packets whose headers could not be read to their end, by reason",
        "reason",
        stops,
    )?;
    let fragments = named(&snapshot.workers, |worker| {
        worker.fragments.named().to_vec()
    });
    families.counts(
        "wirelynx_fragments_total",
        "What became of IP fragments and datagrams",
        "event",
        fragments,
    )
}

/// Sums of named counters over the workers, in the order of the first.
fn named(
    workers: &[Counters],
    of: impl Fn(&Counters) -> Vec<(&'static str, u64)>,
) -> Vec<(&'static str, u64)> {
    let mut sums: Vec<(&'static str, u64)> = Vec::new();
    for worker in workers {
        for (index, (name, count)) in of(worker).into_iter().enumerate() {
            match sums.get_mut(index) {
                Some((_, sum)) => *sum += count,
                None => sums.push((name, count)),
            }
        }
    }
    sums
}
