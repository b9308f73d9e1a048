//! `GET /console/state`: the counters of all replicas, as they are.
//!
//! Counters run since their process started; what is live in the page are differences between two
//! answers, which the page takes. However many look on, replicas are asked at most twice a second.

use super::asker::Told;
use super::{Console, json};
use crate::backends::Backends;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use larder_proto::cache::v1 as wire;
use larder_survey::hot::{Hot, hottest};
use larder_survey::stats::{KeyspaceStats, SourceStats};
use larder_survey::{Replicas, Way, seconds};
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::Status;

/// How long a replica may take to answer.
const LIMIT: Duration = Duration::from_secs(2);
/// How old an answer may be that another asker gets too.
const FRESH: Duration = Duration::from_millis(500);
/// Hot keys of each keyspace that a replica tells, and of all that are shown.
const HOT: u32 = 20;

/// What all replicas said.
#[derive(Serialize, Debug)]
struct Survey {
    /// When, in seconds since 1970.
    at: f64,
    replicas: Vec<Replica>,
    #[serde(skip)]
    hot: Vec<Hot>,
}

/// What is answered.
#[derive(Serialize)]
struct Shown<'a> {
    /// Whether the asker may see keys and have copies dropped.
    authorised: bool,
    #[serde(flatten)]
    survey: &'a Survey,
    /// The keys that are read most; absent for whoever may not see them.
    hot: Option<&'a [Hot]>,
}

#[derive(Serialize, Default, Debug)]
struct Replica {
    name: String,
    /// Why it does not answer, if it does not.
    error: Option<String>,
    keyspaces: Vec<Keyspace>,
    sources: Vec<SourceStats>,
}

#[derive(Serialize, Debug)]
struct Keyspace {
    /// No cached answer is further behind its source.
    max_staleness_seconds: Option<f64>,
    #[serde(flatten)]
    stats: KeyspaceStats,
}

/// Asks the replicas, once for all who ask at the same time.
pub(super) struct Surveyor {
    backends: Backends,
    last: Mutex<Option<(Instant, Arc<Survey>)>>,
}

impl Surveyor {
    pub(super) fn new(backends: Backends) -> Self {
        Self {
            backends,
            last: Mutex::new(None),
        }
    }

    /// What the replicas say now, or said just before.
    async fn survey(&self) -> Arc<Survey> {
        // Held while they are asked, on purpose: whoever else asks waits for this answer, which
        // comes within `LIMIT`. Should this asker leave, the next one asks.
        let mut last = self.last.lock().await;
        match &*last {
            Some((at, survey)) if at.elapsed() < FRESH => survey.clone(),
            _ => {
                let survey = Arc::new(ask(&self.backends).await);
                *last = Some((Instant::now(), survey.clone()));
                survey
            }
        }
    }
}

/// Answers with the state.
pub(super) async fn show(State(console): State<Console>, Told(head): Told) -> Response {
    let authorised = match console.may(&head) {
        Ok(authorised) => authorised,
        Err(problem) => return problem.into_response(),
    };
    let survey = console.surveyor.survey().await;
    json(&Shown {
        authorised,
        hot: authorised.then_some(&survey.hot[..]),
        survey: &survey,
    })
}

type Answer = (
    wire::GetStatsResponse,
    wire::ListKeyspacesResponse,
    wire::ListHotKeysResponse,
);

async fn numbers(client: Way) -> Result<tonic::Response<Answer>, Status> {
    let (mut stats, mut keyspaces, mut hot) = (client.clone(), client.clone(), client);
    let (stats, keyspaces, hot) = tokio::try_join!(
        stats.get_stats(wire::GetStatsRequest::default()),
        keyspaces.list_keyspaces(wire::ListKeyspacesRequest {}),
        hot.list_hot_keys(wire::ListHotKeysRequest {
            keyspaces: Vec::new(),
            limit: HOT,
        }),
    )?;
    let answer = (stats.into_inner(), keyspaces.into_inner(), hot.into_inner());
    Ok(tonic::Response::new(answer))
}

async fn ask(backends: &Backends) -> Survey {
    let (replicas, missing) = backends.caches().await;
    let told = Replicas::new(replicas, LIMIT).ask(numbers).await;
    let failures = missing.into_iter().chain(told.failures);
    let mut replicas: Vec<_> = failures
        .map(|failure| Replica {
            name: failure.replica,
            error: Some(failure.error),
            ..Replica::default()
        })
        .collect();
    let mut hot = Vec::new();
    for (name, (stats, listed, keys)) in told.answers {
        hot.push((name.clone(), keys));
        replicas.push(Replica::of(name, stats, &listed.keyspaces));
    }
    replicas.sort_by(|one, other| one.name.cmp(&other.name));
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Survey {
        at: now.unwrap_or_default().as_secs_f64(),
        replicas,
        hot: hottest(hot, &[], HOT as usize),
    }
}

impl Replica {
    fn of(name: String, stats: wire::GetStatsResponse, listed: &[wire::Keyspace]) -> Self {
        let staleness = |name: &str| {
            let found = listed.iter().find(|keyspace| keyspace.name == name)?;
            let most = found.policy.as_ref()?.max_staleness.as_ref()?;
            Some(seconds(Some(most)))
        };
        let keyspaces = stats.keyspaces.into_iter().map(|stats| Keyspace {
            max_staleness_seconds: staleness(&stats.keyspace),
            stats: stats.into(),
        });
        Self {
            name,
            error: None,
            keyspaces: keyspaces.collect(),
            sources: stats.sources.into_iter().map(SourceStats::from).collect(),
        }
    }
}
