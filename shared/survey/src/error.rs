//! Who did not answer, and what cannot be asked.

use larder_runtime::status::code_name;
use serde::Serialize;
use std::fmt;
use tonic::Status;

/// A replica that did not answer.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Which.
    pub replica: String,
    /// Why not.
    pub error: String,
}

impl Failure {
    /// The status that a replica answered with, or that the way to it did.
    pub fn of(replica: &str, status: &Status) -> Self {
        let code = code_name(status.code());
        Self {
            replica: replica.to_owned(),
            error: format!("{code}: {}", status.message()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.replica, self.error)
    }
}

/// Why there is no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No replica answers.
    #[error("no replica answers: {}", each(.0))]
    Nobody(Vec<Failure>),
    /// No replica that answers has a keyspace of this name.
    #[error("there is no keyspace {name}; there are {}{}", .known.join(", "), silent(.failures))]
    NoKeyspace {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
        /// Who did not say what it has.
        failures: Vec<Failure>,
    },
    /// No replica that answers owns a source of this name.
    #[error("there is no source {name}; there are {}", .known.join(", "))]
    NoSource {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Whoever could have written it down did not.
    #[error("not invalidated: {}", each(.0))]
    NotInvalidated(Vec<Failure>),
}

fn each(failures: &[Failure]) -> String {
    let each: Vec<_> = failures.iter().map(ToString::to_string).collect();
    each.join("; ")
}

fn silent(failures: &[Failure]) -> String {
    match failures.is_empty() {
        true => String::new(),
        false => format!("; not answering: {}", each(failures)),
    }
}
