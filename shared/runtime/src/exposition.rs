//! Metrics as data: what `/metrics` is made of, whatever form it is sent in.
//!
//! Who counts something adds its samples to a [`Page`] when it is asked; nothing is kept here. A
//! [`Metric`] is a constant beside whoever counts, with the sentence that explains it.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A metric: its name as Prometheus knows it, whose suffix is the unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    /// `larder_reads_total`.
    pub name: &'static str,
    /// How its samples are to be read.
    pub kind: Kind,
    /// What it says, in one sentence.
    pub help: &'static str,
}

/// How samples are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is as it is now.
    Gauge,
    /// How often something was how large.
    Histogram,
}

impl Kind {
    /// The word for it in a page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Metric {
    /// One that only grows.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        let kind = Kind::Counter;
        Self { name, kind, help }
    }

    /// One that goes up and down.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        let kind = Kind::Gauge;
        Self { name, kind, help }
    }

    /// One of sizes.
    pub const fn histogram(name: &'static str, help: &'static str) -> Self {
        let kind = Kind::Histogram;
        Self { name, kind, help }
    }
}

/// Labels of a sample, each with its value.
pub type Labels = Vec<(&'static str, String)>;

/// All samples of some metrics at one moment.
#[derive(Clone, Default, Debug)]
pub struct Page(Vec<Family>);

/// The samples of one metric.
#[derive(Clone, Debug)]
pub struct Family {
    /// The metric.
    pub metric: Metric,
    /// One for each set of labels.
    pub samples: Vec<Sample>,
}

/// What one set of labels is at.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Which.
    pub labels: Labels,
    /// At what.
    pub value: Value,
}

/// What a sample is at.
#[derive(Clone, Debug)]
pub enum Value {
    /// A count or a measure.
    Number(f64),
    /// Of a histogram.
    Sizes(Sizes),
}

/// How often something was how large.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// The upper bound of each bucket but the last, which holds the rest.
    pub bounds: &'static [f64],
    /// How many are in each bucket.
    pub counts: Vec<u64>,
    /// All of them together.
    pub sum: f64,
    /// Some that are known by their traces, at most one of each bucket.
    pub exemplars: Vec<Exemplar>,
}

/// One of those that were counted, whose trace was recorded.
#[derive(Clone, PartialEq, Debug)]
pub struct Exemplar {
    /// How large it was.
    pub size: f64,
    /// Its trace.
    pub trace: [u8; 16],
    /// When it was counted.
    pub at: SystemTime,
}

/// How a page is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Prometheus,
    OpenMetrics,
}

impl Page {
    /// What this adds to an empty one.
    pub fn of(measure: impl FnOnce(&mut Self)) -> Self {
        let mut page = Self::default();
        measure(&mut page);
        page
    }

    /// Adds a metric without a sample, so that it is known before the first.
    pub fn metric(&mut self, metric: Metric) -> &mut Vec<Sample> {
        let place = self.0.iter().position(|family| family.metric == metric);
        let place = place.unwrap_or_else(|| {
            let samples = Vec::new();
            self.0.push(Family { metric, samples });
            self.0.len() - 1
        });
        &mut self.0[place].samples
    }

    /// Adds a count or a measure.
    pub fn add(&mut self, metric: Metric, labels: &[(&'static str, &str)], number: f64) {
        let labels = owned(labels);
        let value = Value::Number(number);
        self.metric(metric).push(Sample { labels, value });
    }

    /// Adds a count.
    pub fn count(&mut self, metric: Metric, labels: &[(&'static str, &str)], count: u64) {
        self.add(metric, labels, count as f64);
    }

    /// Adds sizes.
    pub fn sizes(&mut self, metric: Metric, labels: &[(&'static str, &str)], sizes: Sizes) {
        let labels = owned(labels);
        let value = Value::Sizes(sizes);
        self.metric(metric).push(Sample { labels, value });
    }

    /// The metrics in their order.
    pub fn families(&self) -> &[Family] {
        &self.0
    }

    /// As Prometheus reads it, in the text format 0.0.4.
    pub fn text(&self) -> String {
        self.write(Format::Prometheus)
    }

    /// The same as OpenMetrics 1.0, with exemplars.
    pub fn open_metrics(&self) -> String {
        self.write(Format::OpenMetrics) + "# EOF\n"
    }

    fn write(&self, format: Format) -> String {
        let mut text = String::with_capacity(4096);
        for Family { metric, samples } in &self.0 {
            let (name, kind) = (metric.name, metric.kind.name());
            // A counter's family has its name without the end.
            let family = match format {
                Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
                Format::Prometheus => name,
            };
            // Writing to a string never fails.
            _ = writeln!(
                text,
                "# HELP {family} {}\n# TYPE {family} {kind}",
                metric.help
            );
            for sample in samples {
                sample.write(name, format, &mut text);
            }
        }
        text
    }
}

impl Sample {
    fn write(&self, name: &str, format: Format, text: &mut String) {
        let sizes = match &self.value {
            Value::Number(number) => return line(text, name, "", &self.labels, None, *number),
            Value::Sizes(sizes) => sizes,
        };
        let bounds = sizes.bounds.iter().copied().chain([f64::INFINITY]);
        let (mut total, mut below) = (0, f64::NEG_INFINITY);
        for (count, bound) in sizes.counts.iter().zip(bounds) {
            total += count;
            let written = match format {
                _ if bound.is_infinite() => "+Inf".to_owned(),
                Format::Prometheus => bound.to_string(),
                Format::OpenMetrics => format!("{bound:?}"),
            };
            line(
                text,
                name,
                "_bucket",
                &self.labels,
                Some(&written),
                total as f64,
            );
            let mut known = sizes.exemplars.iter();
            if format == Format::OpenMetrics
                && let Some(one) = known.find(|one| one.size > below && one.size <= bound)
            {
                one.write(text);
            }
            below = bound;
        }
        line(text, name, "_sum", &self.labels, None, sizes.sum);
        line(text, name, "_count", &self.labels, None, total as f64);
    }
}

impl Exemplar {
    /// Behind the line of its bucket, which ends with it.
    fn write(&self, text: &mut String) {
        let place = text.trim_end_matches('\n').len();
        text.truncate(place);
        let at = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        _ = write!(text, " # {{trace_id=\"");
        for byte in self.trace {
            _ = write!(text, "{byte:02x}");
        }
        _ = writeln!(text, "\"}} {} {:.3}", self.size, at.as_secs_f64());
    }
}

/// The newest that is known by its trace, of each of so many buckets. One that is not recorded
/// never comes here.
#[derive(Debug)]
pub struct Exemplars<const N: usize>(Mutex<[Option<Exemplar>; N]>);

impl<const N: usize> Default for Exemplars<N> {
    fn default() -> Self {
        Self(Mutex::new([const { None }; N]))
    }
}

impl<const N: usize> Exemplars<N> {
    /// Notes one that was just counted in this bucket.
    pub fn note(&self, bucket: usize, size: f64, trace: [u8; 16]) {
        let at = SystemTime::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = known.get_mut(bucket) {
            *one = Some(Exemplar { size, trace, at });
        }
    }

    /// All that are known.
    pub fn read(&self) -> Vec<Exemplar> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().flatten().cloned().collect()
    }
}

fn line(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &Labels,
    bound: Option<&str>,
    number: f64,
) {
    _ = write!(text, "{name}{suffix}");
    let labels = labels.iter().map(|(label, value)| (*label, value.as_str()));
    let mut before = '{';
    for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
        _ = write!(text, "{before}{label}=\"");
        for letter in value.chars() {
            match letter {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
        before = ',';
    }
    let end = if before == ',' { "}" } else { "" };
    _ = writeln!(text, "{end} {number}");
}

fn owned(labels: &[(&'static str, &str)]) -> Labels {
    let labels = labels.iter();
    labels
        .map(|(label, value)| (*label, (*value).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const CALLS: Metric = Metric::counter("calls_total", "Calls.");
    const TOOK: Metric = Metric::histogram("took_seconds", "How long.");

    #[test]
    fn samples_of_a_metric_stand_together_and_labels_are_escaped() {
        let mut page = Page::default();
        page.count(CALLS, &[], 1);
        let sizes = Sizes {
            bounds: &[0.0005, 1.0],
            counts: vec![2, 0, 1],
            sum: 1.5,
            exemplars: vec![Exemplar {
                size: 0.00025,
                trace: [0xab; 16],
                at: UNIX_EPOCH + Duration::from_millis(1500),
            }],
        };
        page.sizes(TOOK, &[("of", "a")], sizes);
        page.count(CALLS, &[("by", "\"b\"\\\n")], 1 << 40);
        let expected = r#"# HELP calls_total Calls.
# TYPE calls_total counter
calls_total 1
calls_total{by="\"b\"\\\n"} 1099511627776
# HELP took_seconds How long.
# TYPE took_seconds histogram
took_seconds_bucket{of="a",le="0.0005"} 2
took_seconds_bucket{of="a",le="1"} 2
took_seconds_bucket{of="a",le="+Inf"} 3
took_seconds_sum{of="a"} 1.5
took_seconds_count{of="a"} 3
"#;
        assert_eq!(page.text(), expected);
        let open = expected
            .replace("# HELP calls_total", "# HELP calls")
            .replace("# TYPE calls_total", "# TYPE calls")
            .replace("le=\"1\"", "le=\"1.0\"")
            .replace(
                "le=\"0.0005\"} 2\n",
                "le=\"0.0005\"} 2 # {trace_id=\"abababababababababababababababab\"} 0.00025 1.500\n",
            );
        assert_eq!(page.open_metrics(), open + "# EOF\n");
    }
}
