//! Metrics as data: what `/metrics` is made of, whatever form it is sent in.
//!
//! Who counts something adds its samples to a [`Page`] when it is asked; nothing is kept here. A
//! [`Metric`] is a constant beside whoever counts, with the sentence that explains it.

use std::fmt::Write as _;

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
        let mut text = String::with_capacity(4096);
        for Family { metric, samples } in &self.0 {
            let (name, kind) = (metric.name, metric.kind.name());
            // Writing to a string never fails.
            _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help);
            for sample in samples {
                sample.write(name, &mut text);
            }
        }
        text
    }
}

impl Sample {
    fn write(&self, name: &str, text: &mut String) {
        let sizes = match &self.value {
            Value::Number(number) => return line(text, name, "", &self.labels, None, *number),
            Value::Sizes(sizes) => sizes,
        };
        let bounds = sizes.bounds.iter().map(f64::to_string);
        let bounds = bounds.chain(["+Inf".to_owned()]);
        let mut total = 0;
        for (count, bound) in sizes.counts.iter().zip(bounds) {
            total += count;
            line(
                text,
                name,
                "_bucket",
                &self.labels,
                Some(&bound),
                total as f64,
            );
        }
        line(text, name, "_sum", &self.labels, None, sizes.sum);
        line(text, name, "_count", &self.labels, None, total as f64);
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
    }
}
