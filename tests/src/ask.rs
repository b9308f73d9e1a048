//! Calls, and what their metadata says.

use anyhow::Result;
use larder_gateway::hooks::signature::{NONCE, SIGNATURE, TIMESTAMP, sign};
use larder_runtime::config::Secret;
use larder_testkit::http::{self, Answer};
use larder_wire::names;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

/// How long a call may take.
const CALL: Duration = Duration::from_secs(20);

/// A request with a deadline and this metadata.
pub fn asking<T>(message: T, metadata: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    for (name, value) in metadata {
        let value = value.parse().expect("the tests' metadata is ASCII");
        request.metadata_mut().append(*name, value);
    }
    request
}

/// What an answer says of itself.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Said {
    /// `l1`, `l2`, `db` or `stale`.
    pub source: String,
    /// How far behind its source it can be.
    pub age: Option<Duration>,
    /// The version of the entity.
    pub version: Option<u64>,
    /// The token of the write.
    pub token: Option<String>,
}

/// Splits an answer into its message and what it says of itself.
pub fn said<T>(answer: Result<Response<T>, Status>) -> Result<(T, Said), Status> {
    let (metadata, message, _) = answer?.into_parts();
    let said = Said {
        source: text(&metadata, names::SOURCE).unwrap_or_default(),
        age: number(&metadata, names::AGE).map(Duration::from_millis),
        version: number(&metadata, names::VERSION),
        token: text(&metadata, names::TOKEN),
    };
    Ok((message, said))
}

/// Has this dropped as a hook that is signed with `secret`; the nonce is the same each time.
pub async fn hook(gateway: SocketAddr, secret: &str, body: &str) -> Result<Answer> {
    let when = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (secret, nonce) = (Secret::from(secret.to_owned()), "a-nonce-of-the-test");
    let signature = sign(&secret, when, nonce, body.as_bytes());
    let when = when.to_string();
    let headers = [
        (TIMESTAMP, when.as_str()),
        (NONCE, nonce),
        (SIGNATURE, signature.as_str()),
    ];
    http::ask(gateway, "POST", "/hooks/invalidate", &headers, body).await
}

fn text(metadata: &MetadataMap, name: &str) -> Option<String> {
    metadata.get(name)?.to_str().ok().map(str::to_owned)
}

fn number(metadata: &MetadataMap, name: &str) -> Option<u64> {
    text(metadata, name)?.parse().ok()
}
