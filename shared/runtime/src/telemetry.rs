//! What a process says of itself while it runs: log lines, traces and metrics.
//!
//! Log lines go to the standard error. Traces and metrics go to a collector, where one is named
//! (see [`Exporting`]); without, there is nothing of them: no layer, no task, no line. `otlp.rs` is
//! the way there, `spans.rs` and `measures.rs` what is sent, `lines.rs` how a line names its trace.
//! Which traces are recorded is [`trace`]'s.

mod lines;
mod measures;
mod otlp;
mod spans;

pub(crate) use measures::Reporter;

use crate::config::{self, Exporting, LogFormat, Logging};
use crate::trace;
use lines::Traced;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use otlp::Collector;
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::fmt::format::{Format, JsonFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// How long what was recorded last may take to be sent at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why there is no log, or nothing is sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter makes no sense.
    #[error("--log (RUST_LOG) is not a filter: {filter}")]
    Filter {
        /// What was set.
        filter: String,
        /// Why it is none.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The collector cannot be spoken to.
    #[error(transparent)]
    Collector(#[from] otlp::Error),
    /// Something in this process writes the log already.
    #[error("the log cannot be set up")]
    Taken(#[source] TryInitError),
}

/// What goes on behind a process that says something of itself, until it [`ends`](Self::end).
#[must_use = "what was recorded last is sent at its end"]
#[derive(Debug)]
pub struct Telemetry {
    spans: Option<SdkTracerProvider>,
}

/// Where metrics go, if anywhere.
static REPORTER: OnceLock<Reporter> = OnceLock::new();

/// Where the metrics of this process go, if anywhere.
pub(crate) fn reporter() -> Option<&'static Reporter> {
    REPORTER.get()
}

/// Writes the log of this process to its standard error, and sends traces and metrics if they are
/// to be sent, from now on. `name` is the process's, where no other is set. Must be called on a
/// tokio runtime if they are.
pub fn init(name: &str, logging: &Logging) -> Result<Telemetry, Error> {
    let filter = EnvFilter::builder()
        .parse(&logging.log)
        .map_err(|source| Error::Filter {
            filter: logging.log.clone(),
            source,
        })?;
    let exporting = &logging.exporting;
    let resource = resource(name, exporting)?;
    if let Some(endpoint) = exporting.metrics() {
        let _ = REPORTER.set(Reporter {
            collector: Collector::at(endpoint, exporting)?,
            interval: exporting.interval(),
            resource: resource.clone(),
            began: measures::nanos(SystemTime::now()),
        });
    }
    let spans = match exporting.traces() {
        None => {
            // Said once and for all, so that whoever would make a span looks at one number.
            let filter = filter.add_directive(NO_SPANS.parse().expect("a directive"));
            let subscriber = tracing_subscriber::registry()
                .with(filter)
                .with(lines(logging.log_format));
            subscriber.try_init().map_err(Error::Taken)?;
            None
        }
        Some(endpoint) => {
            let pairs = resource.into_iter();
            let pairs = pairs.map(|(name, value)| KeyValue::new(name, value));
            let resource = Resource::builder_empty().with_attributes(pairs).build();
            let provider = spans::provider(Collector::at(endpoint, exporting)?, resource);
            let spans = tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("larder"))
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_tracked_inactivity(false)
                .with_error_events_to_status(false)
                .with_filter(filter_fn(|what| {
                    what.is_span() && what.target() == trace::TARGET
                }));
            let lines = lines(logging.log_format);
            let lines = lines.with_filter(filter.and(filter_fn(is_no_part)));
            let subscriber = tracing_subscriber::registry().with(spans).with(lines);
            subscriber.try_init().map_err(Error::Taken)?;
            trace::turn_on(sampler(exporting));
            Some(provider)
        }
    };
    Ok(Telemetry { spans })
}

/// Writes the log of a command that comes to an end, and sends nothing.
pub fn log(logging: &Logging) -> Result<(), Error> {
    let logging = Logging {
        exporting: Exporting::default(),
        ..logging.clone()
    };
    init("larder", &logging).map(drop)
}

impl Telemetry {
    /// Sends what was recorded last; for a short while at most.
    pub async fn end(self) {
        let Some(spans) = self.spans else { return };
        let ended = tokio::task::spawn_blocking(move || spans.shutdown_with_timeout(FAREWELL));
        let ended = tokio::time::timeout(FAREWELL, ended).await;
        if !matches!(ended, Ok(Ok(Ok(())))) {
            tracing::debug!("spans that were recorded last were not sent");
        }
    }
}

/// That there is nothing to record of a trace.
const NO_SPANS: &str = "larder::trace=off";

/// Of a trace, that is: its spans are no part of log lines.
fn is_no_part(what: &Metadata<'_>) -> bool {
    what.target() != trace::TARGET
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines
            .fmt_fields(JsonFields::new())
            .event_format(Traced {
                lines: Format::default().json().flatten_event(true),
                json: true,
            })
            .boxed(),
        LogFormat::Human => lines
            .with_ansi(std::io::stderr().is_terminal())
            .event_format(Traced {
                lines: Format::default().with_ansi(std::io::stderr().is_terminal()),
                json: false,
            })
            .boxed(),
    }
}

/// What is told of this process with everything that it sends. The name that is set for it counts
/// most, then what the attributes say.
fn resource(name: &str, exporting: &Exporting) -> Result<Vec<(String, String)>, otlp::Error> {
    let attributes = exporting
        .otel_resource_attributes
        .as_deref()
        .unwrap_or_default();
    let mut pairs = otlp::pairs(attributes).ok_or(otlp::Error::Attributes)?;
    let set = exporting
        .otel_service_name
        .as_deref()
        .filter(|name| !name.is_empty());
    let named = pairs.iter().any(|(key, _)| key == SERVICE_NAME);
    if let Some(name) = set.or((!named).then_some(name)) {
        pairs.retain(|(key, _)| key != SERVICE_NAME);
        pairs.push((SERVICE_NAME.to_owned(), name.to_owned()));
    }
    if !pairs.iter().any(|(key, _)| key == SERVICE_VERSION) {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        pairs.push((SERVICE_VERSION.to_owned(), version));
    }
    Ok(pairs)
}

const SERVICE_NAME: &str = "service.name";
const SERVICE_VERSION: &str = "service.version";

fn sampler(exporting: &Exporting) -> Sampler {
    let ratio = Sampler::TraceIdRatioBased(exporting.traces_sampler_arg);
    let parent_or = |root| Sampler::ParentBased(Box::new(root));
    match exporting.traces_sampler {
        config::Sampler::AlwaysOn => Sampler::AlwaysOn,
        config::Sampler::AlwaysOff => Sampler::AlwaysOff,
        config::Sampler::Ratio => ratio,
        config::Sampler::ParentOrAlwaysOn => parent_or(Sampler::AlwaysOn),
        config::Sampler::ParentOrAlwaysOff => parent_or(Sampler::AlwaysOff),
        config::Sampler::ParentOrRatio => parent_or(ratio),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_makes_no_sense_names_its_setting() {
        let logging = Logging {
            log: "larder=loud".to_owned(),
            log_format: LogFormat::Human,
            exporting: Exporting::default(),
        };
        let error = init("larder", &logging).expect_err("no such level");
        assert_eq!(
            error.to_string(),
            "--log (RUST_LOG) is not a filter: larder=loud"
        );
    }

    #[test]
    fn the_name_that_is_set_counts_most() {
        let named = |name: Option<&str>, attributes: Option<&str>| {
            let exporting = Exporting {
                otel_service_name: name.map(str::to_owned),
                otel_resource_attributes: attributes.map(str::to_owned),
                ..Exporting::default()
            };
            let resource = resource("own", &exporting).expect("pairs");
            let mut names = resource.into_iter().filter(|(key, _)| key == SERVICE_NAME);
            let name = names.next().expect("a name").1;
            assert_eq!(names.next(), None);
            name
        };
        let attributes = Some("deployment.environment.name=test,service.name=told");
        assert_eq!(named(None, None), "own");
        assert_eq!(named(None, attributes), "told");
        assert_eq!(named(Some("set"), attributes), "set");
    }
}
