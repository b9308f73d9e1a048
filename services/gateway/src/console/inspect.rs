//! Single keys: `GET /console/inspect` looks at one wherever it may be, and `POST
//! /console/invalidate` has copies dropped in every process. For those who may.

use super::asker::Told;
use super::{Console, json, parameter};
use crate::layers::read_body;
use crate::problem::Problem;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use larder_survey::invalidate::Wanted;
use larder_survey::{Error, Replicas};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::Code;

/// How long a replica may take, also where it asks the source.
const LIMIT: Duration = Duration::from_secs(5);
/// The longest body.
const MOST_BYTES: usize = 8 << 10;

impl Console {
    async fn replicas(&self) -> Replicas {
        let (replicas, _) = self.backends.caches().await;
        Replicas::new(replicas, LIMIT)
    }
}

/// Answers with every copy of the key, without its values. With `source`, the database is asked too.
pub(super) async fn look(State(console): State<Console>, Told(head): Told) -> Response {
    let seen = async {
        console.check(&head)?;
        let text = |name| match parameter(&head, name) {
            empty if empty.is_empty() => Err(Problem::invalid(name, "is empty")),
            text => Ok(text),
        };
        let (keyspace, key) = (text("keyspace")?, text("key")?);
        let skip_source = parameter(&head, "source").is_empty();
        let replicas = console.replicas().await;
        let seen = replicas.inspect(&keyspace, &key, skip_source).await;
        seen.map_err(Problem::from)
    };
    match seen.await {
        Ok(seen) => json(&seen),
        Err(problem) => problem.into_response(),
    }
}

/// What is to be dropped.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    keyspace: String,
    /// All of the keyspace, if there is none.
    key: Option<String>,
}

#[derive(Serialize)]
struct Dropped {
    tokens: BTreeMap<String, String>,
}

/// Drops copies, and answers with what to show in order to be answered with nothing older.
pub(super) async fn invalidate(
    State(console): State<Console>,
    Told(head): Told,
    body: Body,
) -> Response {
    let dropped = async {
        console.check(&head)?;
        let body = read_body(body, MOST_BYTES).await?;
        let asked: Asked = serde_json::from_slice(&body)
            .map_err(|error| Problem::invalid("body", error.to_string()))?;
        let wanted = Wanted {
            keyspace: Some((asked.keyspace.clone(), asked.key.into_iter().collect())),
            ..Wanted::default()
        };
        let tokens = console.replicas().await.invalidate(&wanted).await?;
        tracing::info!(
            cache.namespace = asked.keyspace,
            "invalidated from the console"
        );
        Ok::<_, Problem>(Dropped { tokens })
    };
    match dropped.await {
        Ok(dropped) => json(&dropped),
        Err(problem) => problem.into_response(),
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, code, reason) = match &error {
            Error::NoKeyspace { .. } | Error::NoSource { .. } => {
                (StatusCode::NOT_FOUND, Code::NotFound, "NO_SUCH_KEYSPACE")
            }
            Error::Nobody(_) | Error::NotInvalidated(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Unavailable,
                "NO_REPLICA_ANSWERS",
            ),
        };
        Self::new(status, code, reason, error.to_string())
    }
}
