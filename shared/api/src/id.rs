//! The names of entities.

use larder_runtime::status;
use std::fmt;
use tonic::Status;

/// The most bytes that an id has.
const MOST_BYTES: usize = 63;
/// What ids made here are spelled with: 32 letters, five bits each.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The id of an entity: `[a-z0-9][a-z0-9-]{0,62}`. Checked where it enters, trusted afterwards.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id(String);

impl Id {
    /// The id that a request's `field` holds.
    pub fn parse(field: &str, text: String) -> Result<Self, Status> {
        if is_id(&text) {
            return Ok(Self(text));
        }
        Err(status::invalid(field, "must match [a-z0-9][a-z0-9-]{0,62}"))
    }

    /// The id that a request's `field` holds, or a new one where it is empty.
    pub fn parse_or_new(field: &str, text: String) -> Result<Self, Status> {
        if text.is_empty() {
            Ok(Self::random())
        } else {
            Self::parse(field, text)
        }
    }

    /// The id that this text is, if it is one.
    pub fn read(text: &str) -> Option<Self> {
        is_id(text).then(|| Self(text.to_owned()))
    }

    /// A new id, which nothing else has: 130 random bits.
    fn random() -> Self {
        let mut bytes = [0; 26];
        // Without randomness two processes could choose the same; the unique key would tell.
        let _ = getrandom::fill(&mut bytes);
        let letter = |byte: u8| char::from(LETTERS[usize::from(byte % 32)]);
        Self(bytes.into_iter().map(letter).collect())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_id(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= MOST_BYTES
        && text.bytes().next().is_some_and(letter)
        && text.bytes().all(|byte| letter(byte) || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[test]
    fn what_matches_is_an_id_and_nothing_else() {
        let longest = "a".repeat(63);
        for text in ["a", "0", "ada-lovelace", "a--", longest.as_str()] {
            assert_eq!(
                Id::parse("id", text.to_owned()).expect("an id").as_str(),
                text
            );
        }
        let long = "a".repeat(64);
        for text in [
            "",
            "-a",
            "A",
            "a_b",
            "a b",
            "ä",
            "a/b",
            "a\0",
            long.as_str(),
        ] {
            let status = Id::parse("profile.id", text.to_owned()).expect_err(text);
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(
                status.message().starts_with("profile.id: "),
                "{}",
                status.message()
            );
        }
    }

    #[test]
    fn an_id_made_here_is_one_and_new() {
        let made = || Id::parse_or_new("id", String::new()).expect("made");
        let (one, two) = (made(), made());
        assert_ne!(one, two);
        assert_eq!(Id::read(one.as_str()), Some(one));
    }
}
