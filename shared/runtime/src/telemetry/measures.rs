//! The metrics of a page, on their way to the collector: the same names, the same values.

use super::otlp::Collector;
use crate::exposition::{Exemplar, Family, Kind, Labels, Page, Sample, Sizes, Value};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Who made these.
const SCOPE: &str = "larder";

/// Where the metrics of this process go, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    pub(super) collector: Collector,
    pub(super) interval: Duration,
    pub(super) resource: Vec<(String, String)>,
    /// When counting began, in nanoseconds since 1970.
    pub(super) began: u64,
}

impl Reporter {
    /// How often.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Sends a page; `instance` tells several admin ports of one process from each other.
    pub(crate) async fn send(&self, page: Page, instance: &str) {
        let now = nanos(SystemTime::now());
        let metrics = page.families().iter();
        let metrics = metrics.map(|family| self.metric(family, now)).collect();
        let own = ("service.instance.id".to_owned(), instance.to_owned());
        let resource = self.resource.iter().chain([&own]);
        let resource = Resource {
            attributes: resource.map(|(name, value)| pair(name, value)).collect(),
            ..Resource::default()
        };
        let scope = InstrumentationScope {
            name: SCOPE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_metrics = ScopeMetrics {
            scope: Some(scope),
            metrics,
            ..ScopeMetrics::default()
        };
        let resource_metrics = ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![scope_metrics],
            ..ResourceMetrics::default()
        };
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![resource_metrics],
        };
        // What it fails with was said.
        let _ = self.collector.send_metrics(request).await;
    }

    fn metric(&self, family: &Family, now: u64) -> Metric {
        let metric = family.metric;
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        let numbers = || {
            let samples = family.samples.iter();
            samples
                .filter_map(|sample| self.number(sample, now))
                .collect()
        };
        let data = match metric.kind {
            Kind::Gauge => Data::Gauge(Gauge {
                data_points: numbers(),
            }),
            Kind::Counter => Data::Sum(Sum {
                data_points: numbers(),
                aggregation_temporality,
                is_monotonic: true,
            }),
            Kind::Histogram => Data::Histogram(Histogram {
                data_points: family
                    .samples
                    .iter()
                    .filter_map(|sample| self.sizes(sample, now))
                    .collect(),
                aggregation_temporality,
            }),
        };
        Metric {
            name: metric.name.to_owned(),
            description: metric.help.to_owned(),
            unit: unit(metric.name).to_owned(),
            data: Some(data),
            ..Metric::default()
        }
    }

    fn number(&self, sample: &Sample, now: u64) -> Option<NumberDataPoint> {
        let Value::Number(number) = sample.value else {
            return None;
        };
        Some(NumberDataPoint {
            attributes: attributes(&sample.labels),
            start_time_unix_nano: self.began,
            time_unix_nano: now,
            value: Some(Number::AsDouble(number)),
            ..NumberDataPoint::default()
        })
    }

    fn sizes(&self, sample: &Sample, now: u64) -> Option<HistogramDataPoint> {
        let Value::Sizes(Sizes {
            bounds,
            counts,
            sum,
            exemplars,
        }) = &sample.value
        else {
            return None;
        };
        Some(HistogramDataPoint {
            attributes: attributes(&sample.labels),
            start_time_unix_nano: self.began,
            time_unix_nano: now,
            count: counts.iter().sum(),
            sum: Some(*sum),
            bucket_counts: counts.clone(),
            explicit_bounds: bounds.to_vec(),
            exemplars: exemplars.iter().map(exemplar).collect(),
            ..HistogramDataPoint::default()
        })
    }
}

fn exemplar(one: &Exemplar) -> proto::Exemplar {
    proto::Exemplar {
        time_unix_nano: nanos(one.at),
        trace_id: one.trace.to_vec(),
        value: Some(proto::exemplar::Value::AsDouble(one.size)),
        ..proto::Exemplar::default()
    }
}

/// The unit that a name ends with, as OTLP writes it.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "1",
    }
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels
        .iter()
        .map(|(name, value)| pair(name, value))
        .collect()
}

fn pair(name: &str, value: &str) -> KeyValue {
    let value = Some(Any::StringValue(value.to_owned()));
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value }),
        ..KeyValue::default()
    }
}

/// In nanoseconds since 1970.
pub(super) fn nanos(moment: SystemTime) -> u64 {
    let since = moment.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}
