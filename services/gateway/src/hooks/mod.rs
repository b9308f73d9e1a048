//! `POST /hooks/invalidate`: how systems outside, which change data behind the services' backs,
//! have cached copies dropped.
//!
//! A hook is signed with a shared secret (`signature.rs`) and counts once in the whole cluster:
//! its nonce is taken in the remote tier, by the first gateway that sees it. While the remote tier
//! is away nobody knows whether a hook was seen before, and it is refused with 503: whatever it
//! would have dropped is still bounded by Δ for all that the journal knows of. What a hook may say
//! is in `wanted.rs`.

pub mod signature;
mod wanted;

use crate::State;
use crate::backends::{self, Backends};
use crate::layers::read_body;
use crate::problem::Problem;
use axum::Router;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use larder::remote::guard::{Guard, Limits};
use larder::remote::{self, Remote};
use larder_proto::cache::v1::InvalidateRequest;
use larder_runtime::config::Secret;
use larder_runtime::deadline::Deadline;
use larder_runtime::status;
use larder_runtime::tasks::Tasks;
use larder_wire::names;
use sha2::{Digest as _, Sha256};
use signature::{Nonce, Refused, WINDOW};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tonic::{Code, Status};
use wanted::Wanted;

pub use wanted::operation;

/// Where hooks are sent.
pub const PATH: &str = "/hooks/invalidate";
/// The longest hook.
const MOST_BYTES: usize = 64 << 10;
/// How long the remote tier may take to say whether a nonce is new.
const PATIENCE: Duration = Duration::from_secs(1);
/// When to try again after the remote tier was away.
const AFTER_ABSENCE: Duration = Duration::from_secs(1);

/// What hooks are judged by.
#[derive(Clone)]
pub struct Hooks(Option<Arc<Judge>>);

struct Judge {
    secret: Secret,
    remote: Guard,
    tasks: Tasks,
}

impl Hooks {
    /// With this secret, if hooks are wanted, and nonces in this remote tier. What a hook wants is a
    /// task of these, which goes on if its sender hangs up.
    pub fn new(secret: Option<Secret>, remote: &Arc<dyn Remote>, tasks: &Tasks) -> Self {
        if secret.is_none() {
            tracing::info!("no --hook-secret (LARDER_HOOK_SECRET): {PATH} takes no hooks");
        }
        let limits = Limits {
            timeout: PATIENCE,
            ..Limits::default()
        };
        let remote = remote.clone();
        Self(secret.map(|secret| {
            Arc::new(Judge {
                secret,
                remote: Guard::new(remote, limits),
                tasks: tasks.clone(),
            })
        }))
    }

    /// Through which nonces are taken, if hooks are wanted.
    pub fn guard(&self) -> Option<&Guard> {
        self.0.as_deref().map(|judge| &judge.remote)
    }
}

/// The route of hooks.
pub fn routes() -> Router<State> {
    let take = async |state: axum::extract::State<State>, request: Request| {
        let taken = take(&state.hooks, &state.backends, request).await;
        taken.unwrap_or_else(|problem| problem.into_response())
    };
    Router::new().route(PATH, post(take))
}

async fn take(hooks: &Hooks, backends: &Backends, request: Request) -> Result<Response, Problem> {
    let judge = hooks.0.clone().ok_or_else(|| {
        let detail = "hooks are not set up here";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Problem::new(status, Code::Unavailable, "HOOKS_DISABLED", detail)
    })?;
    let (head, body) = request.into_parts();
    let body = read_body(body, MOST_BYTES).await?;
    let now = SystemTime::now();
    let nonce = signature::check(&judge.secret, &head.headers, &body, now).map_err(unsigned)?;
    let wanted = Wanted::parse(&body)?;
    let deadline = head.extensions.get::<Deadline>().copied();
    let (tasks, backends) = (judge.tasks.clone(), backends.clone());
    // From the nonce on it goes on to its end, whoever waits for that.
    let once = async move { judge.once(&nonce, &wanted, &backends, deadline).await };
    let (dropped, tokens) = tasks.run("hook", once).await.map_err(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "a hook was not taken"
        );
        status::internal()
    })??;
    let body = serde_json::json!({ "dropped": dropped }).to_string();
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    let mut response = (headers, body).into_response();
    for token in tokens {
        if let Ok(token) = token.parse() {
            response.headers_mut().append(names::TOKEN, token);
        }
    }
    Ok(response)
}

/// See [`crate::fuzzed`].
pub(crate) fn tried(headers: &HeaderMap, body: &[u8]) {
    let secret = Secret::from("nobody who signs knows it".to_owned());
    assert!(signature::check(&secret, headers, body, SystemTime::now()).is_err());
    let _ = Wanted::parse(body);
}

/// A nonce that was taken.
struct Taken {
    keys: [String; 1],
    owner: u64,
}

impl Judge {
    /// Drops what is wanted, if this nonce was not seen before; says what that was, and the tokens.
    async fn once(
        &self,
        nonce: &Nonce,
        wanted: &Wanted,
        backends: &Backends,
        deadline: Option<Deadline>,
    ) -> Result<(String, Vec<String>), Problem> {
        let taken = self.take(nonce).await?;
        let outcome = wanted.drop(backends, deadline).await;
        if outcome.is_err() {
            // Nothing was dropped that anybody knows of: the same hook may come again.
            self.give_back(taken).await;
        }
        let tokens = outcome?;
        tracing::info!(hook.dropped = %wanted, "a hook invalidated");
        Ok((wanted.to_string(), tokens))
    }

    /// Takes a nonce, which can be done once. 409 where it was taken before, 503 where nobody
    /// knows.
    async fn take(&self, nonce: &Nonce) -> Result<Taken, Problem> {
        let hash = Sha256::digest(nonce.as_str());
        let taken = Taken {
            keys: [format!("larder:hook:{}", signature::hex(&hash))],
            owner: rand::random(),
        };
        // As long as its time may be within the window, by any gateway's clock.
        let life = 3 * WINDOW;
        match self.remote.lock(&taken.keys, taken.owner, life).await {
            Ok(free) if free == [true] => Ok(taken),
            Ok(_) => {
                let detail = "this hook was taken already";
                let status = StatusCode::CONFLICT;
                Err(Problem::new(status, Code::Aborted, "HOOK_REPLAYED", detail))
            }
            Err(error) => Err(away(&error)),
        }
    }

    async fn give_back(&self, taken: Taken) {
        if let Err(error) = self.remote.unlock(&taken.keys, taken.owner).await {
            tracing::debug!(error = %error, "a nonce stays taken");
        }
    }
}

fn away(error: &remote::Error) -> Problem {
    tracing::warn!(error = %error, "a hook was refused: its nonce cannot be looked up");
    let told = "it cannot be told whether this hook was taken already; sign it anew and repeat it";
    status::unavailable("NONCES_UNAVAILABLE", told, AFTER_ABSENCE).into()
}

fn unsigned(refused: Refused) -> Problem {
    let (reason, code) = match refused {
        Refused::Malformed(_) => ("HOOK_UNSIGNED", Code::Unauthenticated),
        Refused::Wrong => ("HOOK_SIGNATURE_WRONG", Code::Unauthenticated),
        Refused::Stale => ("HOOK_STALE", Code::Unauthenticated),
    };
    Problem::new(StatusCode::UNAUTHORIZED, code, reason, refused.to_string())
}
