//! Samples of one moment, and how they are written.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

use super::families::{FAMILIES, Sort};

/// `Content-Type` of OpenMetrics 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Amount {
    /// A count.
    Whole(u64),
    /// Seconds.
    Seconds(f64),
}

impl From<u64> for Amount {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<u32> for Amount {
    fn from(value: u32) -> Self {
        Self::Whole(value.into())
    }
}

impl From<usize> for Amount {
    fn from(value: usize) -> Self {
        Self::Whole(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl From<bool> for Amount {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<Duration> for Amount {
    fn from(value: Duration) -> Self {
        Self::Seconds(value.as_secs_f64())
    }
}

#[derive(Debug)]
struct Sample {
    labels: Vec<(&'static str, String)>,
    amount: Amount,
}

/// All samples of one moment, by family.
#[derive(Debug, Default)]
pub(super) struct Snapshot(BTreeMap<&'static str, Vec<Sample>>);

impl Snapshot {
    /// Adds a sample of a family in [`FAMILIES`]; a label without a value is left out.
    pub(super) fn add(
        &mut self,
        name: &'static str,
        labels: &[(&'static str, Option<&str>)],
        amount: impl Into<Amount>,
    ) {
        let family = FAMILIES.iter().find(|family| family.name == name);
        debug_assert!(
            family.is_some_and(|family| labels.iter().all(|(label, _)| family.labels.contains(label))),
            "{name} with {labels:?} is not in FAMILIES"
        );
        let labels = labels.iter().filter_map(|(label, value)| Some((*label, (*value)?.to_owned()))).collect();
        self.0.entry(name).or_default().push(Sample { labels, amount: amount.into() });
    }

    /// The page and its `Content-Type`.
    pub(super) fn page(self, open_metrics: bool) -> (String, &'static str) {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut page = String::new();
        // Writing to a string does not fail.
        if open_metrics {
            let _ = text::encode(&mut page, &registry);
            (page, OPEN_METRICS)
        } else {
            let _ = prometheus_text::encode(&mut page, &registry);
            (page, prometheus_text::CONTENT_TYPE)
        }
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in FAMILIES {
            let Some(samples) = self.0.get(family.name) else { continue };
            // The encoder puts the suffix back.
            let bare = match family.sort {
                Sort::Counter => family.name.strip_suffix("_total"),
                Sort::Info => family.name.strip_suffix("_info"),
                Sort::Gauge => None,
            };
            let name = bare.unwrap_or(family.name);
            let mut metric = encoder.encode_descriptor(name, family.help, None, family.sort.metric_type())?;
            for sample in samples {
                if family.sort == Sort::Info {
                    metric.encode_info(&sample.labels)?;
                } else {
                    write(metric.encode_family(&sample.labels)?, family.sort, sample.amount)?;
                }
            }
        }
        Ok(())
    }
}

fn write(mut metric: MetricEncoder<'_>, sort: Sort, amount: Amount) -> fmt::Result {
    match (sort, amount) {
        (Sort::Counter, Amount::Whole(value)) => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
        (Sort::Counter, Amount::Seconds(value)) => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
        (_, Amount::Whole(value)) => metric.encode_gauge(&value),
        (_, Amount::Seconds(value)) => metric.encode_gauge(&value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.add("aviary_build_info", &[("version", Some("1"))], 1_u64);
        snapshot.add("aviary_output_queue_length", &[("output", Some("a\"b\\c\nd"))], 3_u64);
        snapshot.add("aviary_connections_total", &[("service", Some("ftp")), ("host", None)], 2_u64);
        snapshot.add("process_cpu_seconds_total", &[], Duration::from_millis(1500));
        snapshot
    }

    #[test]
    fn the_text_is_that_of_prometheus() {
        let (page, kind) = snapshot().page(false);
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        for line in [
            "# HELP aviary_connections_total Connections accepted; for a service over UDP, datagrams taken",
            "# TYPE aviary_connections_total counter",
            "aviary_connections_total{service=\"ftp\"} 2",
            "aviary_build_info{version=\"1\"} 1",
            r#"aviary_output_queue_length{output="a\"b\\c\nd"} 3"#,
            "process_cpu_seconds_total 1.5",
        ] {
            assert!(page.lines().any(|found| found == line), "no `{line}` in\n{page}");
        }
    }

    #[test]
    fn openmetrics_ends_as_it_must() {
        let (page, kind) = snapshot().page(true);
        assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
        assert!(page.contains("# TYPE aviary_connections counter\n") && page.ends_with("# EOF\n"), "{page}");
    }

    #[test]
    fn names_are_those_that_prometheus_wants() {
        let mut seen = std::collections::BTreeSet::new();
        for family in FAMILIES {
            assert!(seen.insert(family.name), "{} twice", family.name);
            assert!(family.name.starts_with("aviary_") || family.name.starts_with("process_"), "{}", family.name);
            assert_eq!(family.name.ends_with("_total"), family.sort == Sort::Counter, "{}", family.name);
            assert_eq!(family.name.ends_with("_info"), family.sort == Sort::Info, "{}", family.name);
            assert!(!family.help.is_empty() && !family.help.ends_with('.'), "{}", family.name);
        }
    }
}
