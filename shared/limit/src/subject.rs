//! Who is counted, in sixteen bytes.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// An address or a user, as far as they are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Subject {
    bytes: [u8; 16],
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    Address,
    User,
}

/// What separates these hashes from all others of the same text.
const CONTEXT: &str = "larder 2026-11 rate limit user";

/// Of an IPv6 address, what one customer is given: who has it can have all others in it.
const NETWORK: u128 = !0 << 64;

impl Subject {
    /// An address: one of IPv4 by itself, one of IPv6 by its network of 64 bits.
    pub fn address(address: IpAddr) -> Self {
        let bits = match address.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits() & NETWORK,
        };
        Self {
            bytes: bits.to_be_bytes(),
            kind: Kind::Address,
        }
    }

    /// Whoever shows these values. Only their hash is kept, here and everywhere else.
    pub fn user<'a>(shown: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        for value in shown {
            // With its length, so that two values are not one that looks like both.
            hasher.update(&(value.len() as u64).to_le_bytes());
            hasher.update(value);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self {
            bytes,
            kind: Kind::User,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.bytes);
        match (self.kind, Ipv6Addr::from_bits(bits).to_ipv4_mapped()) {
            (Kind::User, _) => write!(f, "{bits:032x}"),
            (Kind::Address, Some(address)) => write!(f, "{address}"),
            (Kind::Address, None) => write!(f, "{}/64", Ipv6Addr::from_bits(bits)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_apart_as_far_as_somebody_owns_it() {
        let shown = |text: &str| Subject::address(text.parse().unwrap()).to_string();
        assert_eq!(shown("203.0.113.7"), "203.0.113.7");
        assert_eq!(shown("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(shown("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(shown("::1"), "::/64");
        assert_ne!(shown("2001:db8:1:2::"), shown("2001:db8:1:3::"));
    }

    #[test]
    fn a_user_is_a_hash_that_tells_nothing() {
        let shown = |values: &[&str]| Subject::user(values.iter().map(|v| v.as_bytes()));
        let text = shown(&["Bearer hunter2"]).to_string();
        assert!(text.len() == 32 && !text.contains("hunter2"));
        assert_eq!(shown(&["a"]), shown(&["a"]));
        assert_ne!(shown(&["a", "b"]), shown(&["ab"]));
        assert_ne!(shown(&["a", ""]), shown(&["a"]));
    }
}
