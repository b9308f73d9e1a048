//! Spans on their way to the collector: the library's queue, whose bounds are `OTEL_BSP_*`, and
//! what takes them out of it.

use super::otlp::Collector;
use crate::trace;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Where recorded spans go. What is recorded was decided before: see [`trace`].
pub(super) fn provider(collector: Collector, resource: Resource) -> SdkTracerProvider {
    let exporter = Exporter {
        collector,
        resource: ResourceAttributesWithSchema::default(),
        runtime: Handle::current(),
    };
    SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::AlwaysOn)
        .with_id_generator(trace::Ids::default())
        .with_resource(resource)
        .build()
}

#[derive(Debug)]
struct Exporter {
    collector: Collector,
    resource: ResourceAttributesWithSchema,
    runtime: Handle,
}

impl SpanExporter for Exporter {
    /// Called by the library's own thread, which knows no runtime.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let collector = self.collector.clone();
        let (done, sent) = oneshot::channel();
        // It is bounded by its timeout, and there are no tasks any more when the last is sent.
        self.runtime.spawn(async move {
            let sent = collector.send_spans(ExportTraceServiceRequest { resource_spans });
            let _ = done.send(sent.await);
        });
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => Err(OTelSdkError::InternalFailure(status.to_string())),
            Err(_) => Err(OTelSdkError::AlreadyShutdown),
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}
