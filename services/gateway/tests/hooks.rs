//! Hooks, as systems outside sign them; the services behind them only listen.

use crate::support;

use anyhow::{Result, bail};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use http_body_util::{BodyExt as _, Full};
use larder::remote::hub::Hub;
use larder_gateway::Parts;
use larder_gateway::hooks::PATH;
use larder_gateway::hooks::signature::{NONCE, SIGNATURE, TIMESTAMP, sign};
use larder_proto::cache::v1::{self as cache, InvalidateRequest};
use larder_proto::reports::v1 as reports;
use larder_runtime::config::Secret;
use larder_testkit::redis;
use prost::Message;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use support::{Answer, Gate, Json as _, backends, nowhere};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

const KEY: &str = r#"{"keyspace":"products","key":"tea"}"#;

fn secret() -> Secret {
    Secret::from("a secret of some length".to_owned())
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}

/// What a service was asked: the method's path and the message.
type Heard = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A gRPC server that answers every call with an empty message, and remembers it.
async fn listener() -> Result<(Heard, String)> {
    let heard = Heard::default();
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let ears = heard.clone();
    let answer = async move |request: Request| {
        let path = request.uri().path().to_owned();
        let body = to_bytes(request.into_body(), 1 << 20)
            .await
            .unwrap_or_default();
        let message = body.get(5..).unwrap_or_default().to_vec();
        ears.lock().expect("no panic").push((path, message));
        let well = axum::http::HeaderMap::from_iter([(
            "grpc-status".parse().expect("a name"),
            "0".parse().expect("a value"),
        )]);
        let empty = Full::from(&[0_u8; 5][..]);
        let empty = empty.with_trailers(std::future::ready(Some(Ok::<_, Infallible>(well))));
        ([("content-type", "application/grpc")], Body::new(empty))
    };
    let routes = Router::new().fallback(answer);
    tokio::spawn(async { axum::serve(listener, routes).await });
    Ok((heard, url))
}

async fn parts() -> Result<(Heard, Parts)> {
    let (heard, url) = listener().await?;
    let mut parts = nowhere();
    parts.backends = backends(&url);
    parts.hook_secret = Some(secret());
    Ok((heard, parts))
}

/// A hook with this nonce, signed then over `signed`, with this body.
async fn hook(gate: &Gate, nonce: &str, when: u64, signed: &str, body: &str) -> Result<Answer> {
    let signature = sign(&secret(), when, nonce, signed.as_bytes());
    let when = when.to_string();
    let headers = [
        (TIMESTAMP, when.as_str()),
        (NONCE, nonce),
        (SIGNATURE, &signature),
    ];
    gate.send("POST", PATH, &headers, body).await
}

/// A nonce of this number.
fn nonce(number: u32) -> String {
    format!("nonce-of-the-test-{number:04}")
}

fn told(answer: &Answer) -> Result<(u16, String)> {
    let problem = answer.json()?;
    Ok((
        answer.status,
        problem["reason"].as_str().unwrap_or_default().to_owned(),
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_hook_has_dropped_what_it_names() -> Result<()> {
    use cache::target::Target as Cached;
    use reports::invalidate_reports_request::Target;
    let (heard, parts) = parts().await?;
    let gate = Gate::start(parts).await?;
    let asked = async |number, body: &str| -> Result<(String, Vec<u8>)> {
        let answer = hook(&gate, &nonce(number), now(), body, body).await?;
        assert_eq!(answer.status, 200, "{}", answer.body);
        Ok(heard.lock().expect("no panic").pop().expect("a call"))
    };
    let cached = async |number, body: &str| -> Result<Cached> {
        let (path, message) = asked(number, body).await?;
        assert_eq!(path, "/larder.cache.v1.CacheService/Invalidate");
        let target = InvalidateRequest::decode(&message[..])?.targets.remove(0);
        Ok(target.target.expect("a target"))
    };
    let text = str::to_owned;
    let key = cache::Key {
        keyspace: text("products"),
        key: text("tea"),
    };
    assert_eq!(cached(1, KEY).await?, Cached::Key(key));
    let keyspace = cached(2, r#"{"keyspace":"comments.list"}"#).await?;
    assert_eq!(keyspace, Cached::Keyspace(text("comments.list")));
    let tag = r#"{"tag":{"collection":"products.category","key":"tea"}}"#;
    let expected = cache::CollectionTag {
        collection: text("products.category"),
        key: text("tea"),
        source: String::new(),
    };
    assert_eq!(cached(3, tag).await?, Cached::Tag(expected));
    for (number, body, target) in [
        (4, r#"{"report":"top-products"}"#, Target::Kind(2)),
        (5, r#"{"region":"north"}"#, Target::Region(text("north"))),
        (6, r#"{"report":"all"}"#, Target::All(true)),
    ] {
        let (path, message) = asked(number, body).await?;
        assert_eq!(path, "/larder.reports.v1.ReportService/InvalidateReports");
        let request = reports::InvalidateReportsRequest::decode(&message[..])?;
        assert_eq!(request.target, Some(target));
    }
    gate.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_forged_changed_late_or_repeated_does_nothing() -> Result<()> {
    let (heard, parts) = parts().await?;
    let gate = Gate::start(parts).await?;
    let refused = async |answer: Answer, status: u16, reason: &str| {
        assert_eq!(told(&answer)?, (status, reason.to_owned()));
        assert_eq!(heard.lock().expect("no panic").len(), 0);
        anyhow::Ok(())
    };
    let unsigned = gate.send("POST", PATH, &[], KEY).await?;
    refused(unsigned, 401, "HOOK_UNSIGNED").await?;
    let changed = hook(&gate, &nonce(1), now(), KEY, r#"{"keyspace":"products"}"#).await?;
    refused(changed, 401, "HOOK_SIGNATURE_WRONG").await?;
    let early = hook(&gate, &nonce(2), now() + 400, KEY, KEY).await?;
    refused(early, 401, "HOOK_STALE").await?;
    let late = hook(&gate, &nonce(2), now() - 301, KEY, KEY).await?;
    refused(late, 401, "HOOK_STALE").await?;
    for body in [
        "",
        "[]",
        "{}",
        r#"{"key":"tea"}"#,
        r#"{"keyspace":"products","report":"sales"}"#,
        r#"{"report":"weather"}"#,
        r#"{"keyspace":"weather"}"#,
        r#"{"everything":true}"#,
    ] {
        let odd = hook(&gate, &nonce(3), now(), body, body).await?;
        refused(odd, 400, "INVALID_FIELD").await?;
    }
    let when = now();
    let first = hook(&gate, &nonce(4), when, KEY, KEY).await?;
    assert_eq!(first.status, 200, "{}", first.body);
    heard.lock().expect("no panic").clear();
    let again = hook(&gate, &nonce(4), when, KEY, KEY).await?;
    refused(again, 409, "HOOK_REPLAYED").await?;
    gate.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_whose_service_is_away_may_come_again() -> Result<()> {
    let hub = Hub::new();
    let mut away = nowhere();
    (away.hook_secret, away.remote) = (Some(secret()), hub.clone());
    let away = Gate::start(away).await?;
    let when = now();
    let answer = hook(&away, &nonce(1), when, KEY, KEY).await?;
    assert_eq!(told(&answer)?, (503, "PEER_UNAVAILABLE".to_owned()));
    let (heard, mut parts) = parts().await?;
    parts.remote = hub;
    let gate = Gate::start(parts).await?;
    assert_eq!(hook(&gate, &nonce(1), when, KEY, KEY).await?.status, 200);
    assert_eq!(heard.lock().expect("no panic").len(), 1);
    // Whichever gateway it comes to.
    let answer = hook(&away, &nonce(1), when, KEY, KEY).await?;
    assert_eq!(told(&answer)?, (409, "HOOK_REPLAYED".to_owned()));
    away.stop().await?;
    gate.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_whose_sender_hangs_up_before_it_failed_may_come_again() -> Result<()> {
    let hub = Hub::new();
    // It takes connections, hears what it is asked, and never answers.
    let silent = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let mut deaf = nowhere();
    deaf.backends = backends(&format!("http://{}", silent.local_addr()?));
    (deaf.hook_secret, deaf.remote) = (Some(secret()), hub.clone());
    let deaf = Gate::start(deaf).await?;
    let when = now();
    let asked = nonce(1);
    let sender = hook(&deaf, &asked, when, KEY, KEY);
    let called = async {
        let (mut service, _) = silent.accept().await?;
        service.read_exact(&mut [0; 24]).await?;
        anyhow::Ok(service)
    };
    let _service = tokio::select! {
        answer = sender => bail!("{:?} before the service was asked", answer?),
        called = called => called?,
    };
    let (heard, mut parts) = parts().await?;
    parts.remote = hub;
    let gate = Gate::start(parts).await?;
    let taken = async || {
        let answer = hook(&gate, &nonce(1), when, KEY, KEY).await;
        answer.is_ok_and(|answer| answer.status == 200)
    };
    larder_testkit::wait_until("the same hook to be taken", support::SOON, taken).await?;
    assert_eq!(heard.lock().expect("no panic").len(), 1);
    deaf.stop().await?;
    gate.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_on_one_redis_take_a_hook_once_and_none_while_it_is_away() -> Result<()> {
    let redis = redis::start()?;
    let (heard, mut one) = parts().await?;
    let (_, mut other) = parts().await?;
    other.backends = one.backends.clone();
    one.remote = larder::remote::open(&redis.url())?;
    other.remote = larder::remote::open(&redis.url())?;
    let (one, other) = (Gate::start(one).await?, Gate::start(other).await?);
    let when = now();
    let statuses = async |number: u32| -> Result<Vec<u16>> {
        let nonce = nonce(number);
        let both = tokio::join!(
            hook(&one, &nonce, when, KEY, KEY),
            hook(&other, &nonce, when, KEY, KEY),
        );
        let mut statuses = vec![both.0?.status, both.1?.status];
        statuses.sort_unstable();
        Ok(statuses)
    };
    // A machine so busy that Redis cannot be asked in time is told as such.
    larder_testkit::wait_until("both gateways on Redis", support::SOON, async || {
        let number = rand::random();
        statuses(number)
            .await
            .is_ok_and(|statuses| statuses == [200, 409])
    })
    .await?;
    for number in 0..20 {
        assert_eq!(statuses(number).await?, [200, 409]);
    }
    drop(redis);
    heard.lock().expect("no panic").clear();
    let answer = hook(&one, &nonce(21), when, KEY, KEY).await?;
    assert_eq!(told(&answer)?, (503, "NONCES_UNAVAILABLE".to_owned()));
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(heard.lock().expect("no panic").len(), 0);
    one.stop().await?;
    other.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_there_are_no_hooks() -> Result<()> {
    let gate = Gate::start(nowhere()).await?;
    let answer = hook(&gate, &nonce(1), now(), KEY, KEY).await?;
    assert_eq!(told(&answer)?, (503, "HOOKS_DISABLED".to_owned()));
    gate.stop().await
}
