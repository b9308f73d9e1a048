//! Conditional requests (RFC 9110, section 13): whoever has a copy already is told that it is
//! still good, in a few bytes.
//!
//! An entity tag is made of the content itself, so that every replica gives the same content the
//! same tag, before and after a start, and a copy is confirmed if and only if it is what would be
//! sent; that of an entity begins with its version, so that it also says which state a write wants to
//! find. A time cannot promise as much; see [`Modified`].

use axum::http::header::{
    ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of a hash that go into a tag: collisions are not to be met, by chance or by design.
const HASH_BYTES: usize = 16;

/// A strong entity tag: two representations have the same if they are the same bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Etag {
    /// Without its quotes.
    opaque: String,
}

impl Etag {
    /// Of what makes up a representation: its bytes, or whatever stands for them, such as a kind,
    /// an id and a version that is never used twice.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let hash = hasher.finalize();
        let hex = hash.as_bytes()[..HASH_BYTES].iter();
        Self {
            opaque: hex.map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Of an entity of this version, and what is shown of it: a version is used once in the life of a
    /// database, and again after a backup of it was restored.
    pub fn versioned(version: u64, shown: &[u8]) -> Self {
        let opaque = format!("{version}-{}", Self::of(&[shown]).opaque);
        Self { opaque }
    }

    /// The version in a tag that was made of one, as it stands in a header.
    pub fn version(header: &str) -> Option<u64> {
        let opaque = header.strip_prefix('"')?.strip_suffix('"')?;
        let (version, hash) = opaque.split_once('-').unwrap_or((opaque, ""));
        let digits = version.bytes().all(|digit| digit.is_ascii_digit());
        let hex = hash.bytes().all(|digit| digit.is_ascii_hexdigit());
        (digits && hex).then(|| version.parse().ok())?
    }

    /// Of the same content in another coding, which are other bytes.
    pub fn coded(&self, coding: &str) -> Self {
        Self {
            opaque: format!("{}-{coding}", self.opaque),
        }
    }

    /// As it stands in a header.
    pub fn header(&self) -> HeaderValue {
        let quoted = format!("\"{}\"", self.opaque);
        HeaderValue::try_from(quoted).expect("digits and a name of ours")
    }
}

/// When a representation last changed, and what a copy's time is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Modified {
    /// The data says so. A copy of this time or later is good.
    Known(SystemTime),
    /// This process first saw it then, as it is. A copy is good if it names that very second and
    /// no other: a later one may have been made elsewhere, of what was never seen here and is gone
    /// again, such as a comment that was deleted. Whoever wants more sends the entity tag.
    Seen(SystemTime),
}

impl Modified {
    fn seconds(self) -> u64 {
        let (Self::Known(time) | Self::Seen(time)) = self;
        let since = time.duration_since(UNIX_EPOCH);
        since.unwrap_or(Duration::ZERO).as_secs()
    }

    /// As it stands in a header, which knows no part of a second.
    pub fn header(self) -> Option<HeaderValue> {
        // A date has four digits for the year.
        const YEAR_10000: u64 = 253_402_300_800;
        let seconds = Some(self.seconds()).filter(|seconds| *seconds < YEAR_10000)?;
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        HeaderValue::try_from(date).ok()
    }

    fn confirms(self, copy: u64) -> bool {
        match self {
            Self::Known(_) => self.seconds() <= copy,
            Self::Seen(_) => self.seconds() == copy,
        }
    }
}

/// What tells one state of a resource from another.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// The tag of the representation that would be sent.
    pub etag: &'a Etag,
    /// When it last changed, where that is known.
    pub modified: Option<Modified>,
}

/// What a request with conditions comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// They hold, or there are none.
    Proceed,
    /// 304: the caller has it already.
    NotModified,
    /// 412: it is not what the caller takes it for.
    Failed,
}

impl Validators<'_> {
    /// Puts them into an answer's headers; both 200 and 304 have them.
    pub fn put(&self, headers: &mut HeaderMap) {
        headers.insert(ETAG, self.etag.header());
        if let Some(modified) = self.modified.and_then(Modified::header) {
            headers.insert(LAST_MODIFIED, modified);
        }
    }

    /// Judges a request's conditions in the order of section 13.2.2: a tag goes before a time.
    /// The representation exists. A condition that cannot be read holds nobody up and confirms
    /// nothing.
    pub fn judge(&self, method: &Method, headers: &HeaderMap) -> Outcome {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        if headers.contains_key(IF_MATCH) {
            if !self.named(headers, &IF_MATCH, Comparison::Strong) {
                return Outcome::Failed;
            }
        } else if let (Some(date), Some(modified)) =
            (date(headers, &IF_UNMODIFIED_SINCE), self.modified)
            && modified.seconds() > date
        {
            return Outcome::Failed;
        }
        if headers.contains_key(IF_NONE_MATCH) {
            return match self.named(headers, &IF_NONE_MATCH, Comparison::Weak) {
                true if reads => Outcome::NotModified,
                true => Outcome::Failed,
                false => Outcome::Proceed,
            };
        }
        match (date(headers, &IF_MODIFIED_SINCE), self.modified) {
            (Some(copy), Some(modified)) if reads && modified.confirms(copy) => {
                Outcome::NotModified
            }
            _ => Outcome::Proceed,
        }
    }

    /// Whether the field, in all its lines, names this representation.
    fn named(&self, headers: &HeaderMap, name: &HeaderName, comparison: Comparison) -> bool {
        let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        if let (Some(line), None) = (lines.next(), lines.next())
            && line.trim_ascii() == b"*"
        {
            return true;
        }
        let lines = headers.get_all(name).iter();
        lines.flat_map(|line| Tags(line.as_bytes())).any(|tag| {
            let strong_enough = comparison == Comparison::Weak || !tag.weak;
            strong_enough && tag.opaque == self.etag.opaque.as_bytes()
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

#[derive(PartialEq, Eq, Debug)]
struct Tag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

/// The tags of a list. What is no tag ends it: nothing behind it can be told from its inside.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let between = |byte: &u8| matches!(byte, b',' | b' ' | b'\t');
        let begin = self.0.iter().position(|byte| !between(byte))?;
        let rest = std::mem::take(&mut self.0);
        let rest = &rest[begin..];
        let (weak, rest) = match rest.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.strip_prefix(b"\"")?;
        // A comma between the quotes is part of the tag.
        let end = rest.iter().position(|byte| *byte == b'"')?;
        let (opaque, behind) = (&rest[..end], &rest[end + 1..]);
        let inside = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
        let ends = behind.first().is_none_or(between);
        if !ends || !opaque.iter().all(inside) {
            return None;
        }
        self.0 = behind;
        Some(Tag { weak, opaque })
    }
}

/// The date in a field that has one, in seconds; none where there are several.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut lines = headers.get_all(name).iter();
    let (line, None) = (lines.next()?, lines.next()) else {
        return None;
    };
    let date = httpdate::parse_http_date(line.to_str().ok()?.trim()).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests;
