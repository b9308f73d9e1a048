use super::*;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use std::convert::Infallible;
use tower::{ServiceExt as _, service_fn};

const CHECK: &str = "/grpc.health.v1.Health/Check";

fn metrics() -> Arc<Metrics> {
    let known = [tonic_health::pb::FILE_DESCRIPTOR_SET];
    Arc::new(Metrics::new(&known).expect("descriptors"))
}

fn request(path: &str) -> http::Request<()> {
    http::Request::builder().uri(path).body(()).expect("a path")
}

fn count(metrics: &Metrics, method: &str, code: &str) -> Option<u64> {
    let line = format!(
        "{}_count{{rpc_method=\"{method}\",rpc_response_status_code=\"{code}\"}} ",
        CALL_DURATION.name
    );
    let text = Page::of(|page| metrics.measure(page)).text();
    let value = text.lines().find_map(|text| text.strip_prefix(&line))?;
    Some(value.parse().expect("a number"))
}

/// Answers with a byte and these trailers.
async fn answer(code: &'static str) -> Result<http::Response<impl http_body::Body>, Infallible> {
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static(code),
    )]);
    let body = Full::new(Bytes::from_static(b"x")).with_trailers(async move { Some(Ok(trailers)) });
    Ok(http::Response::new(body))
}

#[tokio::test]
async fn a_call_counts_by_the_status_behind_its_body() {
    let metrics = metrics();
    for code in ["0", "0", "13"] {
        let service = layer(metrics.clone()).layer(service_fn(|_| answer(code)));
        let answer = service.oneshot(request(CHECK)).await.expect("infallible");
        assert!(answer.into_body().collect().await.is_ok());
    }
    assert_eq!(
        count(&metrics, "grpc.health.v1.Health/Check", "OK"),
        Some(2)
    );
    assert_eq!(
        count(&metrics, "grpc.health.v1.Health/Check", "INTERNAL"),
        Some(1)
    );
    assert_eq!(
        count(&metrics, "grpc.health.v1.Health/Check", "CANCELLED"),
        None
    );
}

#[tokio::test]
async fn an_error_counts_by_the_status_in_its_headers() {
    let metrics = metrics();
    let service = layer(metrics.clone()).layer(service_fn(|_: http::Request<()>| async {
        Ok::<_, Infallible>(status::not_found("profile", "a").into_http::<Full<Bytes>>())
    }));
    service.oneshot(request(CHECK)).await.expect("infallible");
    assert_eq!(
        count(&metrics, "grpc.health.v1.Health/Check", "NOT_FOUND"),
        Some(1)
    );
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_counts_as_cancelled() {
    let metrics = metrics();
    let service = layer(metrics.clone()).layer(service_fn(|_: http::Request<()>| {
        std::future::pending::<Result<http::Response<Full<Bytes>>, Infallible>>()
    }));
    let mut call = Box::pin(service.oneshot(request(CHECK)));
    assert!(futures_util::poll!(&mut call).is_pending());
    drop(call);
    assert_eq!(
        count(&metrics, "grpc.health.v1.Health/Check", "CANCELLED"),
        Some(1)
    );
    let service = layer(metrics.clone()).layer(service_fn(|_| answer("0")));
    drop(service.oneshot(request(CHECK)).await.expect("infallible"));
    assert_eq!(
        count(&metrics, "grpc.health.v1.Health/Check", "CANCELLED"),
        Some(2)
    );
}

#[tokio::test]
async fn calls_of_unknown_methods_share_one_entry() {
    let metrics = metrics();
    for path in ["/a/b", "/c/d"] {
        let service = layer(metrics.clone()).layer(service_fn(|_| answer("0")));
        let answer = service.oneshot(request(path)).await.expect("infallible");
        assert!(answer.into_body().collect().await.is_ok());
    }
    assert_eq!(count(&metrics, "_OTHER", "OK"), Some(2));
}

#[test]
fn buckets_add_up_and_bounds_belong_to_the_bucket_below() {
    let method = Method::new("m".to_owned());
    for micros in [100, 101, 20_000_000] {
        method.record(Code::Ok, Duration::from_micros(micros));
    }
    let text = Page::of(|page| method.measure(CALL_DURATION, page)).text();
    for line in [
        "_bucket{rpc_method=\"m\",rpc_response_status_code=\"OK\",le=\"0.0001\"} 1",
        "_bucket{rpc_method=\"m\",rpc_response_status_code=\"OK\",le=\"0.00025\"} 2",
        "_bucket{rpc_method=\"m\",rpc_response_status_code=\"OK\",le=\"10\"} 2",
        "_bucket{rpc_method=\"m\",rpc_response_status_code=\"OK\",le=\"+Inf\"} 3",
        "_sum{rpc_method=\"m\",rpc_response_status_code=\"OK\"} 20.000201",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
}
