use super::*;
use crate::exposition::Page;
use http_body_util::{BodyExt as _, StreamBody};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;
use tonic::Status;
use tower::service_fn;

const PATH: &str = "/echo.Echo/Say";

/// Answers `ready` with `at once`, and knows nothing else.
struct Known(Arc<AtomicUsize>);

impl Shortcut for Known {
    fn serves(&self, path: &str) -> bool {
        path == PATH
    }

    fn answer(&self, _: &str, metadata: &HeaderMap, message: Bytes) -> Option<Reply> {
        self.0.fetch_add(1, Ordering::Relaxed);
        (message == "ready").then(|| Reply {
            metadata: metadata.clone(),
            body: framed("at once"),
        })
    }
}

fn framed(message: &str) -> Bytes {
    let len = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[0][..], &len, message.as_bytes()].concat().into()
}

/// What came out, whether the shortcut was asked, and what was counted there.
struct Outcome {
    text: Bytes,
    status: Option<HeaderValue>,
    asked: usize,
    counted: String,
}

async fn call(request: http::Request<Body>) -> Outcome {
    let (asked, place) = (Arc::new(AtomicUsize::new(0)), Place::default());
    place.set(Arc::new(Known(asked.clone())));
    let metrics = Arc::new(Metrics::new(&[]).expect("no descriptors"));
    // The long way answers with the very request.
    let long = service_fn(|request: http::Request<Body>| async {
        Ok::<_, Infallible>(http::Response::new(request.into_body()))
    });
    let shortened = layer(place, metrics.clone()).layer(long);
    let response = shortened.oneshot(request).await.expect("infallible");
    let whole = response.into_body().collect().await.expect("a body");
    Outcome {
        status: whole.trailers().and_then(|map| map.get(&STATUS)).cloned(),
        text: whole.to_bytes(),
        asked: asked.load(Ordering::Relaxed),
        counted: Page::of(|page| metrics.measure(page)).text(),
    }
}

fn request(path: &str, frames: &[Bytes]) -> http::Request<Body> {
    let frames: Vec<Bytes> = frames.to_vec();
    let frames = frames.into_iter();
    let frames = frames.map(|frame| Ok::<_, Status>(Frame::data(frame)));
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let mut request = http::Request::new(Body::new(body));
    *request.uri_mut() = path.parse().expect("a path");
    request
}

#[tokio::test]
async fn what_is_known_is_answered_at_once_with_its_status_and_counted() {
    let ends: [&[Bytes]; 2] = [&[framed("ready")], &[framed("ready"), Bytes::new()]];
    for frames in ends {
        let outcome = call(request(PATH, frames)).await;
        assert_eq!(outcome.text, framed("at once"));
        assert_eq!(outcome.status, Some(OK));
        assert!(outcome.counted.contains("rpc_response_status_code=\"OK\""));
    }
}

#[tokio::test]
async fn what_is_not_known_reaches_the_server_with_every_byte_of_its_request() {
    let message = framed("not ready");
    let (head, tail) = (message.slice(..3), message.slice(3..));
    let bodies: [&[Bytes]; 5] = [
        std::slice::from_ref(&message),
        &[message.clone(), Bytes::new()],
        &[head, tail],
        &[framed("ready"), framed("ready")],
        &[],
    ];
    for frames in bodies {
        let outcome = call(request(PATH, frames)).await;
        assert_eq!(outcome.text, frames.concat());
        assert_eq!(outcome.status, None);
        assert!(!outcome.counted.contains("OK"), "the server counts it");
    }
}

#[tokio::test]
async fn other_methods_and_compressed_messages_are_none_of_its_business() {
    let mut encoded = request(PATH, &[framed("ready")]);
    encoded
        .headers_mut()
        .insert(ENCODING, HeaderValue::from_static("gzip"));
    let mut flagged = framed("ready").to_vec();
    flagged[0] = 1;
    for request in [
        encoded,
        request(PATH, &[flagged.into()]),
        request("/echo.Echo/Other", &[framed("ready")]),
    ] {
        let outcome = call(request).await;
        assert_ne!(outcome.text, framed("at once"));
        assert_eq!(outcome.asked, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_follows_its_headers_late_is_waited_for_but_not_for_ever() {
    for (frames, text) in [
        (vec![framed("ready")], framed("at once")),
        (vec![framed("ready").slice(..2)], framed("ready").slice(..2)),
    ] {
        let (send, mut receive) = mpsc::channel(1);
        let body = StreamBody::new(futures_util::stream::poll_fn(move |cx| {
            receive
                .poll_recv(cx)
                .map(|data: Option<Bytes>| data.map(|data| Ok::<_, Status>(Frame::data(data))))
        }));
        let mut request = http::Request::new(Body::new(body));
        *request.uri_mut() = PATH.parse().expect("a path");
        let called = tokio::spawn(call(request));
        tokio::time::sleep(PATIENCE / 2).await;
        for frame in frames {
            send.send(frame).await.expect("it is waited for");
        }
        drop(send);
        assert_eq!(called.await.expect("no panic").text, text);
    }
    let (send, mut receive) = mpsc::channel::<Bytes>(1);
    let body = StreamBody::new(futures_util::stream::poll_fn(move |cx| {
        receive
            .poll_recv(cx)
            .map(|_| None::<Result<Frame<Bytes>, Status>>)
    }));
    let mut request = http::Request::new(Body::new(body));
    *request.uri_mut() = PATH.parse().expect("a path");
    let place = Place::default();
    place.set(Arc::new(Known(Arc::default())));
    let metrics = Arc::new(Metrics::new(&[]).expect("no descriptors"));
    let long = service_fn(|_| async { Ok::<_, Infallible>(http::Response::new(Body::empty())) });
    let answer = layer(place, metrics).layer(long).oneshot(request);
    let within = tokio::time::timeout(PATIENCE * 2, answer).await;
    assert!(within.is_ok(), "the long way takes over");
    drop(send);
}
