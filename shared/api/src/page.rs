//! How a list is cut into pages: how many to a page, and where the next one begins.
//!
//! A page token holds a position in an ordered list (the key of the last row before it, never a
//! count of rows, which shifts when rows come and go) and a hash of what the list was asked for.
//! It grants nothing: whoever forges one sees a page that they could have asked for.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use larder_runtime::status;
use tonic::Status;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The request's field that tokens come in.
const FIELD: &str = "page_token";
const FORMAT: u8 = 1;
const HASH_BYTES: usize = 8;
/// A longer token was not made here.
const MOST_BYTES: usize = 1024;

/// A list as it was asked for: its method and the arguments that its pages share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query(u64);

impl Query {
    /// The list of this method with these arguments. How many rows go on a page is none of them.
    pub fn new(method: &str, arguments: &[&str]) -> Self {
        let mut text = Vec::new();
        for part in [method].iter().chain(arguments) {
            text.extend((part.len() as u64).to_be_bytes());
            text.extend(part.as_bytes());
        }
        Self(xxh3_64(&text))
    }

    /// The token of the page of this list that begins after `position`.
    pub fn token(self, position: &[u8]) -> String {
        let mut bytes = Vec::with_capacity(1 + 2 * HASH_BYTES + position.len());
        bytes.push(FORMAT);
        bytes.extend(self.0.to_be_bytes());
        bytes.extend(position);
        bytes.extend(check(&bytes));
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position in a request's `page_token`; `None` for the first page. `read` makes it of
    /// what [`Query::token`] was given.
    pub fn position<T>(
        self,
        token: &str,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Status> {
        if token.is_empty() {
            return Ok(None);
        }
        let malformed = || status::invalid(FIELD, "is no token of this method");
        let bytes = Some(token).filter(|token| token.len() <= MOST_BYTES);
        let bytes = bytes.and_then(|token| BASE64_URL_SAFE_NO_PAD.decode(token).ok());
        let bytes = bytes.ok_or_else(malformed)?;
        let (body, seal) = bytes
            .split_last_chunk::<HASH_BYTES>()
            .ok_or_else(malformed)?;
        if body.first() != Some(&FORMAT) || *seal != check(body) {
            return Err(malformed());
        }
        let (query, position) = body[1..].split_first_chunk().ok_or_else(malformed)?;
        if u64::from_be_bytes(*query) != self.0 {
            let problem = "is of a list with other arguments";
            return Err(status::invalid(FIELD, problem));
        }
        read(position).map(Some).ok_or_else(malformed)
    }
}

fn check(body: &[u8]) -> [u8; HASH_BYTES] {
    xxh3_64_with_seed(body, u64::from_be_bytes(*b"pagetokn")).to_be_bytes()
}

/// How many rows go on a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Where the request does not say.
    pub default: u32,
    /// More than that is that.
    pub most: u32,
}

impl Sizes {
    /// How many for a request's `page_size`; a negative one is refused.
    pub fn of(self, page_size: i32) -> Result<u32, Status> {
        match u32::try_from(page_size) {
            Ok(0) => Ok(self.default),
            Ok(size) => Ok(size.min(self.most)),
            Err(_) => Err(status::invalid("page_size", "must not be negative")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tonic::Code;

    fn own(bytes: &[u8]) -> Option<Vec<u8>> {
        Some(bytes.to_vec())
    }

    proptest! {
        #[test]
        fn a_token_reads_back_in_its_own_list_only(
            position in proptest::collection::vec(any::<u8>(), 0..80),
            [method, one, two] in ["\\PC{0,5}", "\\PC{0,5}", "\\PC{0,5}"],
        ) {
            let query = Query::new(&method, &[&one, &two]);
            let token = query.token(&position);
            prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
            prop_assert_eq!(query.position(&token, own).expect("ours"), Some(position));
            let other = Query::new(&method, &[&format!("{one}{two}"), ""]);
            if !two.is_empty() {
                prop_assert!(other.position(&token, own).is_err());
            }
        }

        #[test]
        fn a_token_that_was_tampered_with_is_refused(at in 0_usize..40, to in "[A-Za-z0-9_-]") {
            let query = Query::new("ListRows", &[]);
            let mut token = query.token(b"a position of some length");
            if token.get(at..=at) != Some(&to) {
                token.replace_range(at..=at, &to);
                let status = query.position(&token, own).expect_err("tampered");
                prop_assert_eq!(status.code(), Code::InvalidArgument);
                prop_assert!(status.message().starts_with("page_token: "));
            }
        }

        #[test]
        fn no_sealed_bytes_make_reading_panic(
            body in proptest::collection::vec(any::<u8>(), 0..80), format in any::<bool>(),
        ) {
            let mut bytes = body;
            if let (true, Some(first)) = (format, bytes.first_mut()) {
                *first = FORMAT;
            }
            bytes.extend(check(&bytes));
            let token = BASE64_URL_SAFE_NO_PAD.encode(bytes);
            let read = Query::new("ListRows", &[]).position(&token, own);
            prop_assert!(read.is_err(), "it is of no list");
        }

        #[test]
        fn a_token_that_is_too_long_is_refused_unread(length in MOST_BYTES..8 * MOST_BYTES) {
            let token = Query::new("ListRows", &[]).token(&vec![7; length]);
            let read = Query::new("ListRows", &[]).position(&token, |_| -> Option<()> {
                panic!("it is not read")
            });
            prop_assert!(read.is_err());
        }

        #[test]
        fn no_text_makes_reading_panic(text in "\\PC{0,60}") {
            let _ = Query::new("ListRows", &[]).position(&text, own);
        }
    }

    #[test]
    fn a_page_has_the_size_asked_for_within_bounds() {
        let sizes = Sizes {
            default: 25,
            most: 100,
        };
        let of = |size| sizes.of(size).map_err(|status| status.code());
        assert_eq!(of(0), Ok(25));
        assert_eq!(of(7), Ok(7));
        assert_eq!(of(i32::MAX), Ok(100));
        assert_eq!(of(-1), Err(Code::InvalidArgument));
    }
}
