//! What a caller asks for.

use crate::names;
use http::{HeaderMap, HeaderValue};
use larder::{Freshness, Read, Token};
use larder_runtime::deadline::Deadline;
use larder_runtime::status;
use std::time::Duration;
use tonic::{Request, Status};

/// Tokens that one call may show.
pub(crate) const MAX_TOKENS: usize = 64;
/// The longest Δ that a caller may ask for: a day.
const MAX_STALENESS_MILLIS: u64 = 86_400_000;

/// The read options in a request's metadata, and its deadline; INVALID_ARGUMENT names what is
/// malformed.
pub fn read<T>(request: &Request<T>) -> Result<Read, Status> {
    let mut read = wanted(request.metadata().as_ref())?;
    read.deadline = Deadline::of(request).map(|deadline| deadline.at());
    Ok(read)
}

/// The read options in a request's metadata, for an answer at once.
pub fn wanted(metadata: &HeaderMap) -> Result<Read, Status> {
    let tokens = metadata.get_all(names::TOKEN).iter();
    let tokens = tokens
        .take(MAX_TOKENS + 1)
        .map(token)
        .collect::<Result<Vec<_>, _>>()?;
    if tokens.len() > MAX_TOKENS {
        return Err(status::invalid(
            names::TOKEN,
            format!("more than {MAX_TOKENS} tokens"),
        ));
    }
    Ok(Read {
        freshness: freshness(metadata)?,
        tokens,
        ..Read::default()
    })
}

fn freshness(metadata: &HeaderMap) -> Result<Freshness, Status> {
    let word = metadata.get(names::FRESHNESS).map(HeaderValue::as_bytes);
    let bound = metadata.get(names::MAX_STALENESS).map(millis).transpose()?;
    match (word, bound) {
        (None | Some(b"bounded"), None) => Ok(Freshness::Bounded),
        (None | Some(b"bounded"), Some(bound)) => Ok(Freshness::Within(bound)),
        (Some(b"strong"), None) => Ok(Freshness::Strong),
        (Some(b"any"), None) => Ok(Freshness::Any),
        (Some(b"strong" | b"any"), Some(_)) => {
            let problem = "goes with larder-freshness `bounded` only";
            Err(status::invalid(names::MAX_STALENESS, problem))
        }
        (Some(_), _) => {
            let problem = "must be `strong`, `bounded` or `any`";
            Err(status::invalid(names::FRESHNESS, problem))
        }
    }
}

fn millis(value: &HeaderValue) -> Result<Duration, Status> {
    let number = value
        .to_str()
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    number
        .filter(|&millis| millis <= MAX_STALENESS_MILLIS)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            let problem = format!("must be a number from 0 to {MAX_STALENESS_MILLIS}");
            status::invalid(names::MAX_STALENESS, problem)
        })
}

fn token(value: &HeaderValue) -> Result<Token, Status> {
    let token = value
        .to_str()
        .ok()
        .and_then(|text| Token::decode(text).ok());
    token.ok_or_else(|| status::invalid(names::TOKEN, "is no token of this suite"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn asked(pairs: &[(&'static str, &str)]) -> Result<Read, Status> {
        let mut request = Request::new(());
        for (name, value) in pairs {
            request
                .metadata_mut()
                .append(*name, value.parse().expect("ASCII"));
        }
        read(&request)
    }

    #[test]
    fn nothing_said_means_bounded() {
        assert_eq!(asked(&[]).expect("fine"), Read::bounded());
    }

    #[test]
    fn every_word_is_understood() {
        let freshness = |word| asked(&[(names::FRESHNESS, word)]).expect("fine").freshness;
        assert_eq!(freshness("strong"), Freshness::Strong);
        assert_eq!(freshness("bounded"), Freshness::Bounded);
        assert_eq!(freshness("any"), Freshness::Any);
        let within = asked(&[(names::MAX_STALENESS, "250")]).expect("fine");
        assert_eq!(
            within.freshness,
            Freshness::Within(Duration::from_millis(250))
        );
    }

    #[test]
    fn malformed_metadata_is_refused_by_name() {
        let token = (names::TOKEN, "not-a-token");
        for (name, value) in [
            (names::FRESHNESS, "fresh"),
            (names::MAX_STALENESS, "-1"),
            (names::MAX_STALENESS, "1e3"),
            (names::MAX_STALENESS, "86400001"),
            token,
        ] {
            let status = asked(&[(name, value)]).expect_err("malformed");
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(status.message().contains(name), "{}", status.message());
        }
        let both = asked(&[(names::FRESHNESS, "strong"), (names::MAX_STALENESS, "1")]);
        assert_eq!(
            both.expect_err("contradiction").code(),
            Code::InvalidArgument
        );
        let many = vec![(names::TOKEN, ""); 1];
        assert_eq!(
            asked(&many).expect_err("empty").code(),
            Code::InvalidArgument
        );
    }
}
