//! A set of addresses as it is written in a setting: `10.0.0.0/8`, `fd00::/8`, `::1`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotNetwork {
    /// It cannot be read.
    #[error("expected an address, or an address, a slash and a number of bits: 10.0.0.0/8, ::1")]
    Malformed,
    /// What it says beyond the bits that count would be ignored, so that it may be a mistake.
    #[error("the address has bits set beyond its prefix")]
    Beyond,
}

impl Network {
    /// Whether an address is one of them. One of IPv4 that is written as IPv6 is of IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ
                    .checked_shr(128 - u32::from(self.prefix))
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotNetwork;

    fn from_str(text: &str) -> Result<Self, NotNetwork> {
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotNetwork::Malformed)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let plain = |prefix: &&str| prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: u8 = match prefix {
            Some(prefix) => Some(prefix)
                .filter(plain)
                .and_then(|prefix| prefix.parse().ok())
                .filter(|prefix| *prefix <= bits)
                .ok_or(NotNetwork::Malformed)?,
            None => bits,
        };
        let rest = match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        match rest.checked_shl(prefix.into()).unwrap_or(0) {
            0 => Ok(Self { address, prefix }),
            _ => Err(NotNetwork::Beyond),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_that_begin_like_it() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
            ("fd00::/8", "fdff::1", "fe00::"),
            ("::/0", "ffff::", "1.2.3.4"),
            ("::1", "::1", "::2"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
        ] {
            let parsed: Network = network.parse().expect(network);
            assert!(parsed.contains(inside.parse().unwrap()), "{network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "::/-1",
            "::/+1",
            "localhost",
            "10.0.0.0/8/8",
            "256.0.0.0",
        ] {
            assert_eq!(
                text.parse::<Network>(),
                Err(NotNetwork::Malformed),
                "{text}"
            );
        }
        for text in ["10.0.0.1/8", "fd00::1/64", "0.0.0.1/0"] {
            assert_eq!(text.parse::<Network>(), Err(NotNetwork::Beyond), "{text}");
        }
    }
}
