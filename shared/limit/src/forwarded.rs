//! Whom a request comes from, when proxies of ours may stand between.
//!
//! Each proxy adds the address that it was asked from at the right end of what it was told. So
//! what is read from the right is true up to and with the first address that is no proxy of ours:
//! that is whom our outermost proxy was asked by. What stands further left was written by
//! whoever that is, and is never believed.
//!
//! | the peer | the header | who asks |
//! |---|---|---|
//! | no trusted proxy | anything | the peer: the header is not even read |
//! | a trusted proxy | absent or empty | the peer |
//! | | only trusted proxies | the left-most of them |
//! | | an untrusted address behind trusted ones | that address |
//! | | `unknown` or a hidden name behind trusted ones | the last proxy that is known |
//! | | rubbish at the place that is needed, or too long | nobody: [`Malformed`] |
//!
//! `X-Forwarded-For` is read from the right and no further than needed, so that whatever a client
//! wrote there itself does no harm. `Forwarded` (RFC 7239) has quotes, which cannot be read from
//! the right, so each of its lines must be right as a whole.

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use larder_runtime::config::{Network, Trusted};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The lines of the header together.
const MOST_BYTES: usize = 4096;
/// Addresses that are looked at. Nobody has more proxies.
const MOST_HOPS: usize = 32;

/// What a trusted proxy passed on says no address where one must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the header {0} of a proxy is malformed")]
pub struct Malformed(pub &'static str);

/// Which proxies are believed, and which header of theirs.
#[derive(Clone, Debug)]
pub struct Proxies {
    trusted: Vec<Network>,
    header: Trusted,
}

/// One place in the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hop {
    Known(IpAddr),
    Hidden,
}

impl Proxies {
    /// These, in this header.
    pub fn new(trusted: &[Network], header: Trusted) -> Self {
        Self {
            trusted: trusted.to_vec(),
            header,
        }
    }

    /// Who asks, when `peer` is whom the connection is from.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, Malformed> {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return Ok(peer);
        }
        let (name, shown) = match self.header {
            Trusted::XForwardedFor => (X_FORWARDED_FOR, "X-Forwarded-For"),
            Trusted::Forwarded => (FORWARDED, "Forwarded"),
        };
        let lines: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
        let found = match lines.iter().map(|line| line.len()).sum::<usize>() {
            0 => Some(peer),
            1..=MOST_BYTES => self.first_untrusted(peer, &lines),
            _ => None,
        };
        found.ok_or(Malformed(shown))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    fn first_untrusted(&self, peer: IpAddr, lines: &[&HeaderValue]) -> Option<IpAddr> {
        let mut last = peer;
        let mut hops = 0;
        for line in lines.iter().rev() {
            let line = line.to_str().ok()?;
            let mut places: Box<dyn Iterator<Item = Option<Hop>>> = match self.header {
                Trusted::XForwardedFor => {
                    let named = line.rsplit(',').map(str::trim);
                    // The rule for lists allows places that are empty.
                    Box::new(named.filter(|name| !name.is_empty()).map(node))
                }
                Trusted::Forwarded => Box::new(elements(line)?.into_iter().rev().map(Some)),
            };
            for place in &mut places {
                hops += 1;
                match place? {
                    _ if hops > MOST_HOPS => return None,
                    Hop::Known(address) if self.trusts(address) => last = address,
                    Hop::Known(address) => return Some(address),
                    Hop::Hidden => return Some(last),
                }
            }
        }
        Some(last)
    }
}

/// An address, with or without a port, or a name that hides one.
fn node(text: &str) -> Option<Hop> {
    let is_hidden = text.eq_ignore_ascii_case("unknown") || text.starts_with('_');
    if is_hidden {
        return Some(Hop::Hidden);
    }
    let bracketed = || {
        let (inner, rest) = text.strip_prefix('[')?.split_once(']')?;
        let address: Ipv6Addr = inner.parse().ok()?;
        let port = rest.strip_prefix(':');
        (rest.is_empty() || port.is_some_and(is_port)).then_some(IpAddr::V6(address))
    };
    let with_port = || {
        let address: SocketAddr = text.parse().ok()?;
        address.is_ipv4().then_some(address.ip())
    };
    let address: Option<IpAddr> = text.parse().ok();
    let address = address.or_else(bracketed).or_else(with_port)?;
    Some(Hop::Known(address.to_canonical()))
}

/// A port, or the name that RFC 7239 allows to hide one.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(is_token),
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

/// The `for` of each element of a line of `Forwarded`, if the line is as RFC 7239 has it. One
/// without a `for` hides who it was.
fn elements(line: &str) -> Option<Vec<Hop>> {
    let mut rest = line.trim();
    let mut hops = Vec::new();
    while !rest.is_empty() {
        let (hop, behind) = element(rest)?;
        hops.extend(hop);
        rest = match behind.trim_start() {
            "" => "",
            behind => behind.strip_prefix(',')?.trim_start(),
        };
    }
    Some(hops)
}

/// One element, and what is behind it; no hop where it is empty.
fn element(text: &str) -> Option<(Option<Hop>, &str)> {
    let mut rest = text;
    let (mut hop, mut is_empty) = (Hop::Hidden, true);
    let mut seen = false;
    loop {
        let end = rest.bytes().position(|byte| !is_token(byte));
        let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
        if let Some(value) = behind.strip_prefix('=').filter(|_| !name.is_empty()) {
            let (value, behind) = pair_value(value)?;
            if name.eq_ignore_ascii_case("for") {
                if std::mem::replace(&mut seen, true) {
                    return None;
                }
                hop = node(&value)?;
                // Without quotes the brackets and colons of IPv6 are not allowed, and some
                // write them all the same; nothing is ambiguous about it.
            }
            (is_empty, rest) = (false, behind);
        } else if !name.is_empty() {
            return None;
        } else {
            rest = behind;
        }
        match rest.strip_prefix(';') {
            Some(behind) => rest = behind.trim_start(),
            None => return Some(((!is_empty).then_some(hop), rest)),
        }
    }
}

/// A token or a quoted string without its quotes, and what is behind it.
fn pair_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let plain = |byte: u8| is_token(byte) || b"[]:".contains(&byte);
        let end = text.bytes().position(|byte| !plain(byte));
        let (value, behind) = text.split_at(end.unwrap_or(text.len()));
        return (!value.is_empty()).then(|| (value.to_owned(), behind));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;
