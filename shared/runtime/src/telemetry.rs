//! Where log lines go, and which.

use crate::config::{LogFormat, Logging};
use std::io::IsTerminal as _;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// Why there is no log.
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
    /// Something in this process writes the log already.
    #[error("the log cannot be set up")]
    Taken(#[source] TryInitError),
}

/// Writes the log of this process to its standard error, from now on.
pub fn init(logging: &Logging) -> Result<(), Error> {
    let filter = EnvFilter::builder()
        .parse(&logging.log)
        .map_err(|source| Error::Filter {
            filter: logging.log.clone(),
            source,
        })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match logging.log_format {
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
        LogFormat::Human => lines
            .with_ansi(std::io::stderr().is_terminal())
            .finish()
            .try_init(),
    };
    started.map_err(Error::Taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_makes_no_sense_names_its_setting() {
        let logging = Logging {
            log: "larder=loud".to_owned(),
            log_format: LogFormat::Human,
        };
        let error = init(&logging).expect_err("no such level");
        assert_eq!(
            error.to_string(),
            "--log (RUST_LOG) is not a filter: larder=loud"
        );
    }
}
