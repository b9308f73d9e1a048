//! The way to a collector: OTLP over gRPC, every call with a bound.
//!
//! A collector that is away, silent or slow costs what waits for it, and nobody else: calls are
//! made by a task of the runtime, and what they fail with is said now and then.

use crate::config::{Exporting, Secret};
use crate::seldom::Seldom;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(2);

/// Why there is no way to a collector.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is no URL, or what is behind it cannot be spoken to.
    #[error("--otlp-endpoint (OTEL_EXPORTER_OTLP_ENDPOINT) cannot be used: {endpoint}")]
    Endpoint {
        /// The address.
        endpoint: String,
        /// Why not.
        #[source]
        source: tonic::transport::Error,
    },
    /// The file with its CA cannot be read.
    #[error("--otlp-certificate (OTEL_EXPORTER_OTLP_CERTIFICATE) cannot be read")]
    Certificate(#[source] std::io::Error),
    /// The headers are not what they should be. They may be secret, and are not told.
    #[error("--otlp-headers (OTEL_EXPORTER_OTLP_HEADERS) is not name=value,…")]
    Headers,
    /// The attributes are not what they should be.
    #[error("--otel-resource-attributes (OTEL_RESOURCE_ATTRIBUTES) is not name=value,…")]
    Attributes,
}

/// The way to a collector. Clones share the connection.
#[derive(Clone, Debug)]
pub(super) struct Collector {
    channel: Channel,
    headers: MetadataMap,
    timeout: Duration,
    said: Arc<Seldom>,
}

impl Collector {
    /// It is connected when it is first needed. Must be called on a tokio runtime.
    pub(super) fn at(endpoint: &str, exporting: &Exporting) -> Result<Self, Error> {
        let unusable = |source| Error::Endpoint {
            endpoint: endpoint.to_owned(),
            source,
        };
        let mut way = Endpoint::from_shared(endpoint.to_owned()).map_err(unusable)?;
        if way.uri().scheme_str() == Some("https") {
            way = way.tls_config(tls(exporting)?).map_err(unusable)?;
        }
        let channel = way.connect_timeout(CONNECT).connect_lazy();
        Ok(Self {
            channel,
            headers: headers(exporting.otlp_headers.as_ref())?,
            timeout: exporting.timeout(),
            said: Arc::default(),
        })
    }

    pub(super) async fn send_spans(&self, spans: ExportTraceServiceRequest) -> Result<(), Status> {
        let mut client = TraceServiceClient::new(self.channel.clone());
        self.within(client.export(self.asking(spans))).await
    }

    pub(super) async fn send_metrics(
        &self,
        metrics: ExportMetricsServiceRequest,
    ) -> Result<(), Status> {
        let mut client = MetricsServiceClient::new(self.channel.clone());
        self.within(client.export(self.asking(metrics))).await
    }

    fn asking<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.headers.clone();
        request
    }

    async fn within<T>(&self, sent: impl Future<Output = Result<T, Status>>) -> Result<(), Status> {
        let late = |_| Err(Status::deadline_exceeded("it does not answer"));
        let sent = tokio::time::timeout(self.timeout, sent).await;
        let sent = sent.unwrap_or_else(late).map(drop);
        if let Err(status) = &sent
            && self.said.is_due()
        {
            tracing::warn!(
                status = ?status.code(),
                reason = status.message(),
                "the collector takes no traces or metrics; what it misses is dropped"
            );
        }
        sent
    }
}

fn tls(exporting: &Exporting) -> Result<ClientTlsConfig, Error> {
    let Some(file) = &exporting.otlp_certificate else {
        return Ok(ClientTlsConfig::new().with_webpki_roots());
    };
    let pem = std::fs::read(file).map_err(Error::Certificate)?;
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
}

fn headers(text: Option<&Secret>) -> Result<MetadataMap, Error> {
    let mut headers = MetadataMap::new();
    for (name, value) in
        pairs(text.map(Secret::expose).unwrap_or_default()).ok_or(Error::Headers)?
    {
        let name: Result<AsciiMetadataKey, _> = name.to_ascii_lowercase().parse();
        let value: Result<AsciiMetadataValue, _> = value.parse();
        let (Ok(name), Ok(mut value)) = (name, value) else {
            return Err(Error::Headers);
        };
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// The names and values of `name=value,…`, whose values are written with per cent encoding.
pub(super) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let (name, value) = (name.trim(), value.trim());
            let value = percent_encoding::percent_decode_str(value)
                .decode_utf8()
                .ok()?;
            (!name.is_empty()).then(|| (name.to_owned(), value.into_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_what_is_none_is_refused() {
        let of = |text| pairs(text);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(of(""), Some(Vec::new()));
        assert_eq!(
            of("a=b, authorization=Bearer%20x%3Dy"),
            Some(vec![pair("a", "b"), pair("authorization", "Bearer x=y")])
        );
        assert_eq!(of("a"), None);
        assert_eq!(of("=b"), None);
        assert!(headers(Some(&Secret::from("näme=x".to_owned()))).is_err());
    }
}
