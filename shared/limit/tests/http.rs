//! What an HTTP port tells those who ask too often.

use anyhow::{Context as _, Result};
use futures_util::future::ready;
use http::{Request, Response, StatusCode};
use larder::remote::Remote;
use larder::remote::hub::{Faults, Hub};
use larder_limit::Limits;
use larder_limit::http::HttpLayer;
use larder_runtime::config::{Away, Limiting};
use larder_runtime::exposition::Page;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::{Layer as _, ServiceExt as _, service_fn};

/// An hour brings none back in the moments that a test takes.
fn settings() -> Limiting {
    Limiting {
        rate_limit_ip: "3/d".parse().ok(),
        trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
        ..Limiting::default()
    }
}

async fn ask(limits: &Limits, peer: &str, headers: &[(&str, &str)]) -> Result<Response<String>> {
    let peer: IpAddr = peer.parse()?;
    let mut request = Request::builder().uri("/").extension(peer);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let inner =
        service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new("hello".to_owned()))));
    let peer = |extensions: &http::Extensions| extensions.get().copied();
    let layer = HttpLayer::new(Some(limits.clone()), peer, told);
    Ok(layer.layer(inner).oneshot(request.body(())?).await?)
}

/// As a port might tell it: the code, and what limits it is too many for.
fn told(status: Status) -> Response<String> {
    let details = status.get_error_details();
    let info = details.error_info().expect("every error has one");
    let limits = info.metadata.get("limits").cloned().unwrap_or_default();
    let mut response = Response::new(format!("{} {limits}", info.reason));
    *response.status_mut() = match status.code() {
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    response
}

fn said<'a>(response: &'a Response<String>, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.and_then(|value| value.to_str().ok()).unwrap_or("")
}

fn limits(settings: &Limiting, remote: &Arc<Hub>) -> Result<Limits> {
    let remote: Arc<dyn Remote> = remote.clone();
    let limits = Limits::of(settings, &remote, "test")?;
    limits.context("some limit")
}

#[tokio::test]
async fn every_answer_says_how_its_caller_stands_and_one_too_many_when_to_come_again() -> Result<()>
{
    let limits = limits(&settings(), &Hub::new())?;
    for remaining in [2, 1, 0] {
        let answer = ask(&limits, "192.0.2.1", &[]).await?;
        assert_eq!(
            (answer.status(), answer.body().as_str()),
            (StatusCode::OK, "hello")
        );
        assert_eq!(said(&answer, "ratelimit-policy"), "\"ip\";q=3;w=86400");
        let limit = said(&answer, "ratelimit");
        assert!(
            limit.starts_with(&format!("\"ip\";r={remaining};t=")),
            "{limit}"
        );
        assert_eq!(said(&answer, "retry-after"), "");
    }
    // The second one is refused without the remote tier, and told the same.
    for _ in 0..2 {
        let answer = ask(&limits, "192.0.2.1", &[]).await?;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        let wait: u64 = said(&answer, "retry-after").parse()?;
        assert!((28_000..=28_800).contains(&wait), "{wait}");
        assert!(said(&answer, "ratelimit").starts_with("\"ip\";r=0;t="));
        assert_eq!(answer.body(), "RATE_LIMITED ip");
    }
    assert_eq!(
        ask(&limits, "192.0.2.2", &[]).await?.status(),
        StatusCode::OK
    );
    let page = Page::of(|page| limits.measure(page)).text();
    for (outcome, count) in [("passed", 4), ("refused", 1), ("refused_here", 1)] {
        let line = format!("{{scope=\"ip\",outcome=\"{outcome}\"}} {count}\n");
        assert!(page.contains(&line), "{line} is missing in {page}");
    }
    Ok(())
}

#[tokio::test]
async fn who_stands_behind_a_trusted_proxy_is_counted_and_not_the_proxy() -> Result<()> {
    let limits = limits(&settings(), &Hub::new())?;
    let status = async |peer, chain| -> Result<u16> {
        let answer = ask(&limits, peer, &[("x-forwarded-for", chain)]).await?;
        Ok(answer.status().as_u16())
    };
    for _ in 0..3 {
        assert_eq!(status("10.0.0.1", "198.51.100.9, 192.0.2.1").await?, 200);
    }
    assert_eq!(status("10.0.0.2", "198.51.100.8, 192.0.2.1").await?, 429);
    assert_eq!(status("10.0.0.2", "192.0.2.2").await?, 200);
    assert_eq!(status("10.0.0.2", "192.0.2.2, rubbish").await?, 400);
    // Whoever is no proxy cannot be somebody else.
    assert_eq!(status("192.0.2.1", "203.0.113.1").await?, 429);
    assert_eq!(status("192.0.2.3", "rubbish").await?, 200);
    assert!(
        Page::of(|page| limits.measure(page))
            .text()
            .contains("larder_rate_limit_malformed_total 1\n")
    );
    Ok(())
}

#[tokio::test]
async fn a_user_is_limited_too_and_nobody_escapes_the_limit_of_their_address() -> Result<()> {
    let settings = Limiting {
        rate_limit_user: "2/d".parse().ok(),
        ..settings()
    };
    let hub = Hub::new();
    let limits = limits(&settings, &hub)?;
    let ask = async |peer, user| ask(&limits, peer, &[("authorization", user)]).await;
    let first = ask("192.0.2.1", "Bearer hunter2").await?;
    assert_eq!(
        said(&first, "ratelimit-policy"),
        "\"ip\";q=3;w=86400, \"user\";q=2;w=86400"
    );
    assert_eq!(ask("192.0.2.2", "Bearer hunter2").await?.status(), 200);
    let refused = ask("192.0.2.3", "Bearer hunter2").await?;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.body(), "RATE_LIMITED user");
    for user in ["Bearer a", "Bearer b"] {
        assert_eq!(ask("192.0.2.1", user).await?.status(), 200);
    }
    assert_eq!(ask("192.0.2.1", "Bearer c").await?.status(), 429);
    assert!(
        !format!("{:?}", hub.dump()).contains("hunter2"),
        "only a hash is kept"
    );
    Ok(())
}

#[tokio::test]
async fn with_the_setting_nobody_passes_while_nobody_can_say() -> Result<()> {
    let settings = Limiting {
        rate_limit_away: Away::Refuse,
        ..settings()
    };
    let hub = Hub::new();
    let limits = limits(&settings, &hub)?;
    hub.set_faults(Faults {
        down: true,
        ..Faults::default()
    });
    let answer = ask(&limits, "192.0.2.1", &[]).await?;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(said(&answer, "retry-after"), "1");
    Ok(())
}

#[test]
fn a_limit_that_cannot_be_names_its_setting() {
    let settings = Limiting {
        rate_limit_ip: "100001/s".parse().ok(),
        ..Limiting::default()
    };
    let remote: Arc<dyn Remote> = Hub::new();
    let error = Limits::of(&settings, &remote, "test")
        .err()
        .expect("too fast");
    let text = format!("{:#}", anyhow::Error::from(error));
    assert!(
        text.starts_with("--rate-limit-ip (LARDER_RATE_LIMIT_IP): "),
        "{text}"
    );
    assert!(Limits::of(&Limiting::default(), &remote, "test").is_ok_and(|none| none.is_none()));
}
