//! What every request passes through: the one place where layers are stacked.
//!
//! From the outside:
//!
//! 1. if its trace is recorded, it has a span around it ([`traces`]);
//! 2. it is counted and timed, whatever becomes of it ([`metrics`]);
//! 3. who asks too often is turned away ([`larder_limit`]), at no cost to what is within;
//! 4. one whose head is too long is refused (`head`);
//! 5. the body is waited for, where a slow one keeps nobody out, and all have room (`room.rs`);
//! 6. a request too many at once is turned away (`admission`);
//! 7. and none takes longer than its deadline (`deadline`).
//!
//! Who asks is the [`Peer`] of the connection, or whom a trusted proxy there names.

use crate::State;
use crate::metrics::{self, Metrics};
use crate::problem::Problem;
use crate::room::Room;
use crate::traces;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Extensions, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use larder_limit::http::HttpLayer;
use larder_runtime::connection::Peer;
use larder_runtime::deadline::Deadline;
use larder_runtime::server::Limits;
use larder_runtime::status;
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tonic::Code;

/// What the bodies of all requests take together.
const ROOM_BYTES: usize = 64 << 20;
/// The longest body that any route takes.
const MOST_BYTES: usize = crate::routes::MOST_BYTES;
/// In what a body is gathered that comes in pieces.
const BLOCK_BYTES: usize = 16 << 10;
/// When those who are turned away should come back.
const COME_BACK: Duration = Duration::from_millis(100);

/// Puts all layers around the routes. The last that is added is the first that a request meets.
pub fn stack(
    routes: Router<State>,
    _state: &State,
    metrics: &Arc<Metrics>,
    limits: Limits,
    rates: Option<larder_limit::Limits>,
) -> Router<State> {
    let head_bytes = limits.bounds.head_bytes;
    let room = Room::new(ROOM_BYTES);
    let longest = limits.bounds.body;
    let places = Arc::new(Semaphore::new(limits.calls.min(Semaphore::MAX_PERMITS)));
    routes
        // Compression and conditional requests belong here, next to the routes.
        .layer(from_fn(move |request, next| {
            deadline(limits.call, request, next)
        }))
        .layer(from_fn_with_state(places, admission))
        .layer(from_fn(move |request, next| {
            arrival(room.clone(), longest, request, next)
        }))
        .layer(from_fn(move |request, next| {
            head(head_bytes, request, next)
        }))
        .layer(HttpLayer::new(rates, peer, |told| {
            Problem::from(told).into_response()
        }))
        .layer(from_fn_with_state(metrics.clone(), metrics::measure))
        .layer(from_fn(traces::record))
}

fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let peer: &Peer = extensions.get()?;
    peer.address.map(|address| address.ip())
}

/// Ends a request after `longest`; handlers find the [`Deadline`] in its extensions.
async fn deadline(longest: Duration, mut request: Request, next: Next) -> Response {
    let deadline = Deadline::after(longest);
    request.extensions_mut().insert(deadline);
    match deadline.bound(next.run(request)).await {
        Ok(response) => response,
        Err(status) => Problem::from(status).into_response(),
    }
}

/// Refuses a head that is too long: its path and its headers. The transport's own bound, beyond which
/// nothing is read, is twice that.
async fn head(most: usize, request: Request, next: Next) -> Response {
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len());
    let path = request.uri().path_and_query();
    let length = headers.sum::<usize>() + path.map_or(0, |path| path.as_str().len());
    if length <= most {
        return next.run(request).await;
    }
    let detail = format!("the path and the headers are longer than {most} bytes");
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    Problem::new(status, Code::InvalidArgument, "HEAD_TOO_LARGE", detail).into_response()
}

/// Waits for a body, which may be sent slowly or not at all, before anything is done for it. It has its
/// room until the request is answered.
async fn arrival(room: Room, longest: Duration, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(head, body)).await;
    }
    let most = body.size_hint().upper().map(usize::try_from);
    let bytes = most.map_or(MOST_BYTES, |most| {
        most.map_or(MOST_BYTES, |most| most.min(MOST_BYTES))
    });
    let Ok(mut place) = room.enter(bytes) else {
        return crowded();
    };
    let body = tokio::select! {
        body = read_body(body, MOST_BYTES) => body,
        () = place.given_up() => Err(too_slow("the body came too slowly while many others did")),
        () = sleep(longest) => Err(too_slow("the body did not come in time")),
    };
    match body {
        Ok(body) => {
            place.arrived();
            next.run(Request::from_parts(head, body.into())).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn too_slow(detail: &str) -> Problem {
    let status = StatusCode::REQUEST_TIMEOUT;
    Problem::new(status, Code::DeadlineExceeded, "BODY_TOO_SLOW", detail)
}

/// Lets so many requests in at once; the others are told to come back.
async fn admission(
    axum::extract::State(places): axum::extract::State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_place) = places.try_acquire() else {
        return crowded();
    };
    next.run(request).await
}

fn crowded() -> Response {
    let told = "too many requests are under way";
    let told = status::unavailable("TOO_MANY_REQUESTS", told, COME_BACK);
    Problem::from(told).into_response()
}

/// The body of a request, which may have so many bytes: 413 where it has more, 400 where it breaks
/// off. What comes in many small pieces takes no more room than what comes in one.
pub async fn read_body(body: Body, most: usize) -> Result<Bytes, Problem> {
    let mut body = Limited::new(body, most);
    // A piece that is kept keeps the whole buffer that it was read into, so pieces are copied: into
    // blocks of one size, of which one body's take the place of another's, as long ones do not.
    let (mut blocks, mut block) = (Vec::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame.map_err(|error| unread(&*error, most))?.into_data() else {
            continue;
        };
        if blocks.is_empty() && block.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        while !data.is_empty() {
            if block.len() == block.capacity() {
                let full = std::mem::replace(&mut block, BytesMut::with_capacity(BLOCK_BYTES));
                blocks.extend((!full.is_empty()).then_some(full));
            }
            let some = data.len().min(block.capacity() - block.len());
            block.extend_from_slice(&data.split_to(some));
        }
    }
    if blocks.is_empty() {
        return Ok(block.freeze());
    }
    blocks.push(block);
    let mut whole = BytesMut::with_capacity(blocks.iter().map(BytesMut::len).sum());
    for block in blocks {
        whole.extend_from_slice(&block);
    }
    Ok(whole.freeze())
}

fn unread(error: &(dyn Error + 'static), most: usize) -> Problem {
    let (status, reason, detail) = match error.is::<LengthLimitError>() {
        true => {
            let detail = format!("the body is longer than {most} bytes");
            (StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", detail)
        }
        false => {
            let detail = "the body broke off".to_owned();
            (StatusCode::BAD_REQUEST, "BODY_BROKEN", detail)
        }
    };
    Problem::new(status, Code::InvalidArgument, reason, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt as _, stream};
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A large buffer of which only one byte was read into.
    struct Piece(Arc<AtomicUsize>);

    impl Piece {
        fn new(alive: &Arc<AtomicUsize>) -> Self {
            alive.fetch_add(1, Ordering::SeqCst);
            Self(alive.clone())
        }
    }

    impl AsRef<[u8]> for Piece {
        fn as_ref(&self) -> &[u8] {
            b"x"
        }
    }

    impl Drop for Piece {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn a_body_in_many_pieces_keeps_no_buffer_that_a_piece_was_read_into() {
        let alive = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let (counted, seen) = (alive.clone(), most.clone());
        let pieces = stream::iter(0..1000).map(move |_| {
            let piece = Bytes::from_owner(Piece::new(&counted));
            seen.fetch_max(counted.load(Ordering::SeqCst), Ordering::SeqCst);
            Ok::<_, Infallible>(piece)
        });
        let body = read_body(Body::from_stream(pieces), 1000)
            .await
            .expect("whole");
        assert_eq!(body.len(), 1000);
        assert!(most.load(Ordering::SeqCst) <= 2, "{most:?} at once");
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let pieces: Vec<_> = sent
            .chunks(7_777)
            .map(|piece| Ok::<_, Infallible>(piece.to_vec()))
            .collect();
        let body = Body::from_stream(stream::iter(pieces));
        assert_eq!(read_body(body, sent.len()).await.expect("whole"), sent);
        let long = read_body(Body::from(vec![0; 1001]), 1000).await;
        assert_eq!(
            long.expect_err("too long").status,
            StatusCode::PAYLOAD_TOO_LARGE
        );
    }
}
