//! A collector that keeps what it is sent by OTLP.

use anyhow::Result;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use opentelemetry_proto::tonic::resource::v1::Resource;
pub use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// See the module's documentation. It ends when it is dropped.
pub struct Collector {
    address: SocketAddr,
    held: Held,
    task: JoinHandle<()>,
}

/// Attributes with their values as text.
pub type Attributes = BTreeMap<String, String>;

/// A span as it was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// Its trace.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// Its parent's; empty for the first.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// Which side of a call it is.
    pub kind: SpanKind,
    /// What is said of it.
    pub attributes: Attributes,
    /// The traces and spans that it followed from.
    pub links: Vec<(String, String)>,
    /// What is said of the process.
    pub resource: Attributes,
}

impl Span {
    /// What is said of it under this name.
    pub fn said(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// A sample of a metric, the sum of one that is a histogram, as it was last sent.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// Its metric.
    pub name: String,
    /// Of what.
    pub attributes: Attributes,
    /// What is said of the process.
    pub resource: Attributes,
    /// At what.
    pub value: f64,
}

#[derive(Clone, Default)]
struct Held(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    spans: Vec<Span>,
    samples: Vec<Sample>,
    headers: Vec<String>,
}

impl Collector {
    /// One that listens on loopback.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let held = Held::default();
        let server = Server::builder()
            .add_service(TraceServiceServer::new(held.clone()))
            .add_service(MetricsServiceServer::new(held.clone()));
        let task = tokio::spawn(async move {
            let _ = server
                .serve_with_incoming(TcpIncoming::from(listener))
                .await;
        });
        Ok(Self {
            address,
            held,
            task,
        })
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.held.lock().spans.clone()
    }

    /// All samples that were sent last.
    pub fn samples(&self) -> Vec<Sample> {
        self.held.lock().samples.clone()
    }

    /// What it was shown under `authorization`, each time.
    pub fn headers(&self) -> Vec<String> {
        self.held.lock().headers.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown<T>(&self, request: &Request<T>) {
        let shown = request.metadata().get("authorization");
        let shown = shown.and_then(|value| value.to_str().ok());
        self.lock()
            .headers
            .push(shown.unwrap_or_default().to_owned());
    }
}

#[tonic::async_trait]
impl TraceService for Held {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.shown(&request);
        for group in request.into_inner().resource_spans {
            let resource = told(group.resource);
            let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let spans = spans.map(|span| Span {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                kind: span.kind(),
                name: span.name,
                attributes: texts(span.attributes),
                links: span
                    .links
                    .iter()
                    .map(|link| (hex(&link.trace_id), hex(&link.span_id)))
                    .collect(),
                resource: resource.clone(),
            });
            self.lock().spans.extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Held {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.shown(&request);
        for group in request.into_inner().resource_metrics {
            let resource = told(group.resource);
            let metrics = group.scope_metrics.into_iter();
            let metrics = metrics.flat_map(|scope| scope.metrics);
            let samples = metrics.flat_map(|metric| {
                let points = points(metric.data);
                let (name, resource) = (metric.name, resource.clone());
                points.into_iter().map(move |(attributes, value)| Sample {
                    name: name.clone(),
                    attributes,
                    resource: resource.clone(),
                    value,
                })
            });
            let mut held = self.lock();
            held.samples.retain(|sample| sample.resource != resource);
            held.samples.extend(samples);
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn points(data: Option<Data>) -> Vec<(Attributes, f64)> {
    let numbers = match data {
        Some(Data::Gauge(gauge)) => gauge.data_points,
        Some(Data::Sum(sum)) => sum.data_points,
        Some(Data::Histogram(histogram)) => {
            let points = histogram.data_points.into_iter();
            let sums = points.map(|one| (texts(one.attributes), one.sum.unwrap_or(f64::NAN)));
            return sums.collect();
        }
        _ => Vec::new(),
    };
    let numbers = numbers.into_iter().map(|one| {
        let value = match one.value {
            Some(number_data_point::Value::AsDouble(number)) => number,
            Some(number_data_point::Value::AsInt(number)) => number as f64,
            None => f64::NAN,
        };
        (texts(one.attributes), value)
    });
    numbers.collect()
}

fn told(resource: Option<Resource>) -> Attributes {
    texts(resource.unwrap_or_default().attributes)
}

fn texts(attributes: Vec<KeyValue>) -> Attributes {
    let pairs = attributes.into_iter().map(|pair| {
        let text = match pair.value.and_then(|value| value.value) {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            Some(Value::BoolValue(truth)) => truth.to_string(),
            Some(Value::DoubleValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        };
        (pair.key, text)
    });
    pairs.collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
