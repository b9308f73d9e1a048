//! Tags: what tells one state of an answer from another.
//!
//! The tag of an entity is its version. Where an answer shows more than its own row, as a comment
//! shows its author's name, a hash of the answer follows; and what has no version has the hash
//! alone. So `If-Match` with any tag of an entity says which version a write wants to find.

use crate::hooks::signature::hex;
use axum::http::HeaderMap;
use axum::http::header::IF_NONE_MATCH;
use sha2::{Digest as _, Sha256};

/// The tag of this answer.
pub fn of(version: Option<&str>, whole: bool, body: &[u8]) -> String {
    match version {
        Some(version) if whole => format!("\"{version}\""),
        Some(version) => format!("\"{version}-{}\"", hash(body)),
        None => format!("\"h{}\"", hash(body)),
    }
}

/// The version that a tag begins with.
pub fn version(tag: &str) -> Option<u64> {
    let tag = tag.strip_prefix('"')?.strip_suffix('"')?;
    let (version, hash) = tag.split_once('-').unwrap_or((tag, ""));
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let hex = |text: &str| text.bytes().all(|digit| digit.is_ascii_hexdigit());
    (digits(version) && hex(hash)).then(|| version.parse().ok())?
}

/// Whether the client has this state already. Tags are compared weakly, as RFC 9110 has it for
/// `If-None-Match`.
pub fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter();
    let texts = lists.filter_map(|list| list.to_str().ok());
    // No tag of ours holds a comma.
    let mut tags = texts.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn hash(body: &[u8]) -> String {
    hex(&Sha256::digest(body)[..12])
}
