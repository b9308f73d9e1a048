//! Who sent a hook, and when: an HMAC-SHA256 over `timestamp.nonce.body`.
//!
//! | header | value |
//! |---|---|
//! | `larder-hook-timestamp` | when it was signed, in seconds since 1970 |
//! | `larder-hook-nonce` | 16 to 128 letters, digits, `-` and `_`, never used before |
//! | `larder-hook-signature` | `v1=` and the HMAC in hexadecimal |
//!
//! ```sh
//! body='{"keyspace":"products","key":"tea"}' now=$(date +%s) nonce=$(openssl rand -hex 16)
//! mac=$(printf '%s.%s.%s' $now $nonce "$body" | openssl dgst -sha256 -hmac "$LARDER_HOOK_SECRET" -r)
//! curl -d "$body" -H "larder-hook-timestamp: $now" -H "larder-hook-nonce: $nonce" \
//!     -H "larder-hook-signature: v1=${mac%% *}" http://127.0.0.1:8080/hooks/invalidate
//! ```

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use larder_runtime::config::Secret;
use sha2::Sha256;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// When it was signed.
pub const TIMESTAMP: &str = "larder-hook-timestamp";
/// What makes it different from any other.
pub const NONCE: &str = "larder-hook-nonce";
/// The signature.
pub const SIGNATURE: &str = "larder-hook-signature";
/// How far the sender's clock may be from ours, the way included.
pub const WINDOW: Duration = Duration::from_secs(300);
/// The version of the scheme.
const SCHEME: &str = "v1=";
/// The bytes of an HMAC-SHA256.
const MAC_BYTES: usize = 32;

/// Why a hook is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// A header is missing, or is not as it must be.
    #[error("{0} is missing or malformed")]
    Malformed(&'static str),
    /// Whoever signed it has another secret, or signed something else.
    #[error("the signature is not of this timestamp, nonce and body")]
    Wrong,
    /// It was signed too long ago, or is of the future.
    #[error("it was signed more than {} s from now", WINDOW.as_secs())]
    Stale,
}

/// What makes a hook different from any other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nonce(String);

impl Nonce {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let proper = (16..=128).contains(&text.len()) && text.bytes().all(letter);
        proper.then(|| Self(text.to_owned()))
    }
}

/// The nonce of a hook that was signed with this secret, not long ago. Nothing of a hook is
/// believed before its signature is, and signatures are compared in constant time.
pub fn check(
    secret: &Secret,
    headers: &HeaderMap,
    body: &[u8],
    now: SystemTime,
) -> Result<Nonce, Refused> {
    let stamp = only(headers, TIMESTAMP)?;
    let stamp: u64 = parsed(stamp, TIMESTAMP, |text| text.parse().ok())?;
    let nonce = parsed(only(headers, NONCE)?, NONCE, Nonce::parse)?;
    let mac = parsed(only(headers, SIGNATURE)?, SIGNATURE, unhex)?;
    let signed = mac_of(secret, stamp, &nonce.0, body);
    signed.verify_slice(&mac).map_err(|_| Refused::Wrong)?;
    let stamp = Duration::from_secs(stamp);
    let now = now.duration_since(SystemTime::UNIX_EPOCH);
    match now.unwrap_or_default().abs_diff(stamp) <= WINDOW {
        true => Ok(nonce),
        false => Err(Refused::Stale),
    }
}

/// The signature of a hook: the value of its header.
pub fn sign(secret: &Secret, timestamp: u64, nonce: &str, body: &[u8]) -> String {
    let mac = mac_of(secret, timestamp, nonce, body).finalize();
    format!("{SCHEME}{}", hex(&mac.into_bytes()))
}

fn mac_of(secret: &Secret, timestamp: u64, nonce: &str, body: &[u8]) -> Hmac<Sha256> {
    let key = secret.expose().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is taken");
    // Neither a number nor a nonce holds a full stop: no other three parts make the same text.
    mac.update(format!("{timestamp}.{nonce}.").as_bytes());
    mac.update(body);
    mac
}

/// The header's value, if it is there once.
fn only<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Refused> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| Refused::Malformed(name)),
        _ => Err(Refused::Malformed(name)),
    }
}

fn parsed<T>(
    text: &str,
    name: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Refused> {
    parse(text).ok_or(Refused::Malformed(name))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; MAC_BYTES]> {
    let text = text.strip_prefix(SCHEME)?;
    let proper = text.len() == 2 * MAC_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut mac = [0; MAC_BYTES];
    for (index, byte) in mac.iter_mut().enumerate() {
        let digits = proper.then(|| &text[2 * index..2 * index + 2])?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"keyspace":"products"}"#;
    const WHEN: u64 = 1_800_000_000;
    const ONCE: &str = "0123456789abcdef";

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| {
                let name = axum::http::HeaderName::from_static(name);
                (name, value.parse().expect("a header"))
            })
            .collect()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn signed() -> [(&'static str, String); 3] {
        [
            (TIMESTAMP, WHEN.to_string()),
            (NONCE, ONCE.to_owned()),
            (SIGNATURE, sign(&secret("hush"), WHEN, ONCE, BODY)),
        ]
    }

    /// What is said of the signed hook with one header changed.
    fn with(name: &'static str, value: &str) -> Result<Nonce, Refused> {
        let signed = signed();
        let pairs = signed.iter().map(|(header, own)| {
            let value = if *header == name { value } else { own };
            (*header, value)
        });
        let pairs: Vec<_> = pairs.collect();
        check(&secret("hush"), &headers(&pairs), BODY, at(WHEN))
    }

    #[test]
    fn the_signature_is_that_of_the_rfc() {
        // RFC 4231, test case 2, of the function beneath.
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").expect("any key");
        mac.update(b"what do ya want for nothing?");
        assert_eq!(
            hex(&mac.finalize().into_bytes()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn what_was_signed_is_believed_and_whatever_was_changed_is_not() {
        assert_eq!(with("", ""), Ok(Nonce(ONCE.to_owned())));
        assert_eq!(with(NONCE, "0123456789abcdeF"), Err(Refused::Wrong));
        let later = (WHEN + 1).to_string();
        assert_eq!(with(TIMESTAMP, &later), Err(Refused::Wrong));
        let signed = signed();
        let pairs: Vec<_> = signed
            .iter()
            .map(|(name, own)| (*name, own.as_str()))
            .collect();
        let said = |key, body| check(&secret(key), &headers(&pairs), body, at(WHEN));
        assert_eq!(said("hush", b"{}"), Err(Refused::Wrong));
        assert_eq!(said("loud", BODY), Err(Refused::Wrong));
    }

    #[test]
    fn a_signature_is_good_for_five_minutes_before_and_after() {
        let signed = signed();
        let pairs: Vec<_> = signed
            .iter()
            .map(|(name, own)| (*name, own.as_str()))
            .collect();
        let said = |when| check(&secret("hush"), &headers(&pairs), BODY, at(when)).map(drop);
        assert_eq!(said(WHEN - 300), Ok(()));
        assert_eq!(said(WHEN + 300), Ok(()));
        assert_eq!(said(WHEN - 301), Err(Refused::Stale));
        assert_eq!(said(WHEN + 301), Err(Refused::Stale));
    }

    #[test]
    fn a_malformed_header_is_named() {
        for (name, value) in [
            (TIMESTAMP, "now"),
            (TIMESTAMP, "-1"),
            (TIMESTAMP, "99999999999999999999999"),
            (NONCE, "short"),
            (NONCE, "0123456789abcdef."),
            (SIGNATURE, "v1=00"),
            (SIGNATURE, &"0".repeat(64)),
            (SIGNATURE, &format!("v1={}", "é".repeat(32))),
        ] {
            assert_eq!(with(name, value), Err(Refused::Malformed(name)), "{value}");
        }
        let none = check(&secret("hush"), &HeaderMap::new(), BODY, at(WHEN));
        assert_eq!(none, Err(Refused::Malformed(TIMESTAMP)));
    }
}
