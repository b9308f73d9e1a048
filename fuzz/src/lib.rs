//! What reads the bytes of others, each as a function that takes any.
//!
//! What it does with them is its own business, as long as it ends soon, does not panic, and keeps
//! what it promises of what it takes. The same functions run here under libFuzzer and, over the seeds
//! and some thousands of changes of them, as a test of the workspace (`tests/fuzzed.rs`).

use http::{HeaderMap, HeaderValue};
use larder_api::page::Query;
use larder_limit::Proxies;
use larder_runtime::config::Trusted;
use std::net::IpAddr;

/// A name, and what takes bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 14] = [
    ("entry", larder::fuzzed::entry),
    ("hint", larder::fuzzed::hint),
    ("slots", larder::fuzzed::slots),
    ("address", address),
    ("round", larder_wire::fuzzed::round),
    ("token", token),
    ("page", page),
    ("timeout", larder_runtime::fuzzed::timeout),
    ("certificate", larder_runtime::fuzzed::certificate),
    ("forwarded", forwarded),
    ("hook", larder_gateway::fuzzed::hook),
    ("request", larder_gateway::fuzzed::request),
    ("conditions", larder_gateway::fuzzed::conditions),
    ("orders", larder_reports::fuzzed::orders),
];

/// Runs one of them.
pub fn run(name: &str, bytes: &[u8]) {
    for (known, target) in TARGETS {
        if known == name {
            target(bytes);
        }
    }
}

/// The address of a remote tier, which an operator writes.
pub fn address(bytes: &[u8]) {
    larder::fuzzed::address(&String::from_utf8_lossy(bytes));
}

/// Metadata of a call: a token in each line, and how fresh an answer must be. A token that is taken
/// reads back.
pub fn token(bytes: &[u8]) {
    let mut metadata = HeaderMap::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let Ok(value) = HeaderValue::from_bytes(line) else {
            continue;
        };
        let name = match number {
            0 => larder_wire::names::FRESHNESS,
            1 => larder_wire::names::MAX_STALENESS,
            _ => larder_wire::names::TOKEN,
        };
        metadata.append(name, value);
        if let Ok(token) = larder::Token::decode(&String::from_utf8_lossy(line)) {
            assert_eq!(larder::Token::decode(&token.encode()), Ok(token));
        }
    }
    let _ = larder_wire::wanted(&metadata);
}

/// A page token: what another list made is refused.
pub fn page(bytes: &[u8]) {
    let (ours, other) = (Query::new("List", &["a"]), Query::new("List", &["b"]));
    let text = String::from_utf8_lossy(bytes);
    let read = |query: Query| query.position(&text, |position| Some(position.to_vec()));
    if let Ok(Some(position)) = read(ours) {
        assert!(read(other).is_err());
        let again = ours.position(&ours.token(&position), |again| Some(again == position));
        assert!(again.is_ok_and(|same| same == Some(true)));
    }
}

/// Who asks, as proxies say it, a line for each header: without a proxy that is trusted, nobody but
/// the peer.
pub fn forwarded(bytes: &[u8]) {
    let (peer, proxy) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([10, 0, 0, 1]));
    let trusted = ["10.0.0.0/8".parse().expect("a network")];
    for header in [Trusted::XForwardedFor, Trusted::Forwarded] {
        let name = match header {
            Trusted::XForwardedFor => "x-forwarded-for",
            Trusted::Forwarded => "forwarded",
        };
        let mut headers = HeaderMap::new();
        for line in bytes.split(|byte| *byte == b'\n') {
            if let Ok(value) = HeaderValue::from_bytes(line) {
                headers.append(name, value);
            }
        }
        let proxies = Proxies::new(&trusted, header);
        assert_eq!(proxies.client(peer, &headers).ok(), Some(peer));
        let _ = proxies.client(proxy, &headers);
    }
}
