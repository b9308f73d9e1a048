//! Where traces and metrics are sent, by the variables that OpenTelemetry has made everybody's.

use super::{Secret, Shown};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Where traces and metrics are sent, if anywhere. The names are OpenTelemetry's; of its
/// `OTEL_BSP_*`, which bound what waits to be sent, its own library reads the values.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Traces and metrics by OTLP")]
pub struct Exporting {
    /// The collector that traces and metrics are sent to by OTLP over gRPC: `http://host:4317`
    /// [default: they are not sent].
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Another one for traces.
    #[arg(
        long,
        hide_short_help = true,
        env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        value_name = "URL"
    )]
    pub otlp_traces_endpoint: Option<String>,
    /// Another one for metrics.
    #[arg(
        long,
        hide_short_help = true,
        env = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        value_name = "URL"
    )]
    pub otlp_metrics_endpoint: Option<String>,
    /// What the collector is shown with everything: `name=value,…`, with per cent encoding.
    #[arg(
        long,
        hide_short_help = true,
        env = "OTEL_EXPORTER_OTLP_HEADERS",
        value_name = "HEADERS"
    )]
    pub otlp_headers: Option<Secret>,
    /// Certificates of the CA that signed an https collector's [default: the public ones].
    #[arg(
        long,
        hide_short_help = true,
        env = "OTEL_EXPORTER_OTLP_CERTIFICATE",
        value_name = "FILE"
    )]
    pub otlp_certificate: Option<PathBuf>,
    /// How it is sent; there is one way.
    #[arg(
        long,
        hide_short_help = true,
        env = "OTEL_EXPORTER_OTLP_PROTOCOL",
        value_enum,
        default_value_t
    )]
    pub otlp_protocol: Protocol,
    /// How long the collector may take, in milliseconds.
    #[arg(long, hide_short_help = true, env = "OTEL_EXPORTER_OTLP_TIMEOUT", value_name = "MS", default_value_t = TIMEOUT_MS)]
    pub otlp_timeout: u32,
    /// Which traces are recorded.
    #[arg(
        long,
        hide_short_help = true,
        env = "OTEL_TRACES_SAMPLER",
        value_enum,
        default_value_t
    )]
    pub traces_sampler: Sampler,
    /// The share of them, where it is a ratio.
    #[arg(long, hide_short_help = true, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "RATIO", default_value_t = 1.0, value_parser = ratio)]
    pub traces_sampler_arg: f64,
    /// How often metrics are sent, in milliseconds.
    #[arg(long, hide_short_help = true, env = "OTEL_METRIC_EXPORT_INTERVAL", value_name = "MS", default_value_t = INTERVAL_MS, value_parser = clap::value_parser!(u32).range(10..))]
    pub metric_export_interval: u32,
    /// By what name this process is known in them.
    #[arg(
        long,
        hide_short_help = true,
        env = "OTEL_SERVICE_NAME",
        value_name = "NAME"
    )]
    pub otel_service_name: Option<String>,
    /// What else is told of it: `name=value,…`, with per cent encoding.
    #[arg(
        long,
        hide_short_help = true,
        env = "OTEL_RESOURCE_ATTRIBUTES",
        value_name = "ATTRIBUTES"
    )]
    pub otel_resource_attributes: Option<String>,
    /// Sends nothing, wherever it could be sent.
    #[arg(long, hide_short_help = true, env = "OTEL_SDK_DISABLED", value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set, value_parser = clap::builder::BoolishValueParser::new())]
    pub otel_sdk_disabled: bool,
}

const TIMEOUT_MS: u32 = 10_000;
const INTERVAL_MS: u32 = 60_000;

/// How things are sent.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// OTLP over gRPC.
    #[default]
    Grpc,
}

/// Which traces are recorded.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[value(rename_all = "snake_case")]
pub enum Sampler {
    /// All.
    AlwaysOn,
    /// None.
    AlwaysOff,
    /// A share, chosen by their ids.
    #[value(name = "traceidratio")]
    Ratio,
    /// As whoever calls has decided, and all of those that begin here.
    #[default]
    #[value(name = "parentbased_always_on")]
    ParentOrAlwaysOn,
    /// As whoever calls has decided, and none of those that begin here.
    #[value(name = "parentbased_always_off")]
    ParentOrAlwaysOff,
    /// As whoever calls has decided, and a share of those that begin here.
    #[value(name = "parentbased_traceidratio")]
    ParentOrRatio,
}

impl Exporting {
    /// Where traces are sent, if anywhere.
    pub fn traces(&self) -> Option<&str> {
        self.either(&self.otlp_traces_endpoint)
    }

    /// Where metrics are sent, if anywhere.
    pub fn metrics(&self) -> Option<&str> {
        self.either(&self.otlp_metrics_endpoint)
    }

    /// An empty variable is none: that is OpenTelemetry's rule.
    fn either<'a>(&'a self, own: &'a Option<String>) -> Option<&'a str> {
        let set =
            |endpoint: &'a Option<String>| endpoint.as_deref().filter(|text| !text.is_empty());
        set(own)
            .or(set(&self.otlp_endpoint))
            .filter(|_| !self.otel_sdk_disabled)
    }

    /// How long the collector may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.otlp_timeout.into())
    }

    /// How often metrics are sent.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.metric_export_interval.into())
    }

    /// Adds its settings to what is printed.
    pub fn show(&self, shown: Shown) -> Shown {
        let none = || "none".to_owned();
        let shown = shown
            .line(
                "otlp-traces-endpoint",
                self.traces().map_or_else(none, str::to_owned),
            )
            .line(
                "otlp-metrics-endpoint",
                self.metrics().map_or_else(none, str::to_owned),
            );
        match &self.otlp_headers {
            Some(headers) => shown.line("otlp-headers", headers),
            None => shown,
        }
    }
}

/// For the command line: a share between none and all.
fn ratio(text: &str) -> Result<f64, String> {
    let ratio: Option<f64> = text.parse().ok();
    ratio
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| "expected a number between 0 and 1".to_owned())
}
