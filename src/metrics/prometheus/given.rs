//! A histogram that was counted elsewhere: the library's own counts what it is shown one by one.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use std::collections::HashMap;

/// Of one value of the label.
pub(super) struct Counted {
    /// The value.
    pub(super) value: String,
    /// Upper ends of the buckets, and the count of all that is at most that.
    pub(super) cumulative: Vec<(f64, u64)>,
    /// What was counted in all.
    pub(super) count: u64,
    /// Their sum.
    pub(super) sum: f64,
}

/// A histogram by one label.
#[derive(Debug)]
pub(super) struct Given {
    desc: Desc,
    family: MetricFamily,
}

impl Given {
    pub(super) fn new(
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = Counted>,
    ) -> Result<Self, prometheus::Error> {
        let labels = vec![label.to_owned()];
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())?;
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        let metrics = samples.into_iter().map(|one| metric(label, one));
        family.set_metric(metrics.collect());
        Ok(Self { desc, family })
    }
}

fn metric(label: &str, counted: Counted) -> Metric {
    let mut pair = LabelPair::default();
    pair.set_name(label.to_owned());
    pair.set_value(counted.value);
    let buckets = counted.cumulative.into_iter().map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counted.count);
    histogram.set_sample_sum(counted.sum);
    let mut metric = Metric::from_label(vec![pair]);
    metric.set_histogram(histogram);
    metric
}

impl Collector for Given {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        vec![self.family.clone()]
    }
}
