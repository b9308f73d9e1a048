//! Content codings: which one a caller takes (RFC 9110, section 12.5.3), and the bytes in it.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write as _};

/// Below this, headers make up most of an answer.
const WORTH_BYTES: usize = 1024;
/// What zstd gains beyond this it takes in time.
const ZSTD_LEVEL: i32 = 9;

/// How the bytes of an answer are coded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    /// As they are.
    Identity,
    /// gzip, which everybody reads.
    Gzip,
    /// Zstandard, which is smaller and cheaper.
    Zstd,
}

impl Coding {
    /// The one that a caller wants most; of those wanted as much, the smallest. Whoever takes
    /// nothing that there is gets the bytes as they are, rather than none.
    pub fn chosen(headers: &HeaderMap) -> Self {
        let mut weights = Weights::default();
        for line in headers.get_all(ACCEPT_ENCODING) {
            // What is not ASCII is no coding of ours.
            for part in line.to_str().unwrap_or_default().split(',') {
                weights.hear(part);
            }
        }
        weights.best()
    }

    /// Its name in `Content-Encoding`; none for what is not coded.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// The bytes in this coding, where that is worth it.
    pub fn encode(self, bytes: &[u8]) -> Option<Bytes> {
        if bytes.len() < WORTH_BYTES {
            return None;
        }
        let coded = match self {
            Self::Identity => return None,
            Self::Gzip => gzip(bytes),
            Self::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
        };
        // Memory is all that either could lack.
        coded
            .ok()
            .filter(|coded| coded.len() < bytes.len())
            .map(Bytes::from)
    }
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Thousandths of a weight, for each coding that was named.
#[derive(Default)]
struct Weights {
    gzip: Option<u16>,
    zstd: Option<u16>,
    identity: Option<u16>,
    other: Option<u16>,
}

impl Weights {
    /// Takes one coding of the list in, with its weight. What is malformed is not there.
    fn hear(&mut self, part: &str) {
        let mut words = part.split(';').map(str::trim);
        let name = words.next().unwrap_or_default();
        let weight = words.next().map_or(Some(1000), weight);
        let Some(weight) = weight else { return };
        let place = match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => &mut self.gzip,
            "zstd" => &mut self.zstd,
            "identity" => &mut self.identity,
            "*" => &mut self.other,
            _ => return,
        };
        *place = Some(weight);
    }

    fn best(&self) -> Coding {
        let of = |named: Option<u16>| named.or(self.other).unwrap_or(0);
        let (zstd, gzip) = (of(self.zstd), of(self.gzip));
        // Bytes as they are will always do, unless something is named that is wanted more.
        let identity = self.identity.unwrap_or(0);
        if zstd > 0 && zstd >= gzip && zstd >= identity {
            Coding::Zstd
        } else if gzip > 0 && gzip >= identity {
            Coding::Gzip
        } else {
            Coding::Identity
        }
    }
}

/// `q=0.5`: at most three digits behind the point, at most one.
fn weight(word: &str) -> Option<u16> {
    let (name, number) = word.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, part) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
    let digits = part.bytes().all(|byte| byte.is_ascii_digit());
    if part.len() > 3 || !digits {
        return None;
    }
    let part: u16 = format!("{part:0<3}").parse().ok()?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn chosen(lines: &[&str]) -> Coding {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, line.parse().expect("a header"));
        }
        Coding::chosen(&headers)
    }

    #[test]
    fn a_caller_gets_what_it_wants_most_of_what_there_is() {
        for (accepted, coding) in [
            ("gzip, deflate, br, zstd", Coding::Zstd),
            ("gzip, deflate, br", Coding::Gzip),
            ("GZIP", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("br", Coding::Identity),
            ("", Coding::Identity),
            ("*", Coding::Zstd),
            ("zstd;q=0, *", Coding::Gzip),
            ("gzip;q=1.0, zstd;q=0.5", Coding::Gzip),
            ("gzip ; q=0.8 , zstd ; q=0.8", Coding::Zstd),
            ("gzip;q=0, zstd;q=0.000", Coding::Identity),
            ("identity, gzip;q=0.5", Coding::Identity),
            ("identity;q=0.5, gzip;q=0.5", Coding::Gzip),
            ("identity;q=0", Coding::Identity),
            ("*;q=0", Coding::Identity),
            ("gzip;q=2, zstd;q=x", Coding::Identity),
            ("gzip;q=0.1234", Coding::Identity),
            ("gzip;level=9", Coding::Identity),
            (";;,,q=1", Coding::Identity),
        ] {
            assert_eq!(chosen(&[accepted]), coding, "{accepted}");
        }
        assert_eq!(chosen(&[]), Coding::Identity);
        assert_eq!(chosen(&["br", "gzip"]), Coding::Gzip);
    }

    #[test]
    fn what_was_coded_reads_back() {
        let text = "The kettle boils. ".repeat(500);
        let gzip = Coding::Gzip.encode(text.as_bytes()).expect("worth it");
        let mut read = String::new();
        let mut decoder = flate2::read::GzDecoder::new(&gzip[..]);
        decoder.read_to_string(&mut read).expect("gzip");
        assert_eq!(read, text);
        let zstd = Coding::Zstd.encode(text.as_bytes()).expect("worth it");
        let read = zstd::bulk::decompress(&zstd, text.len()).expect("zstd");
        assert_eq!(read, text.as_bytes());
    }

    #[test]
    fn what_does_not_shrink_is_sent_as_it_is() {
        assert_eq!(Coding::Gzip.encode(b"short"), None);
        let noise: Vec<u8> = (0..200_u32)
            .flat_map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes())
            .collect();
        assert_eq!(Coding::Gzip.encode(&noise), None);
        assert_eq!(Coding::Zstd.encode(&noise), None);
    }
}
