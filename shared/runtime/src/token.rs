//! A token in a file, read again when it changes. It is never printed.

use crate::config::Secret;
use http::HeaderValue;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use subtle::ConstantTimeEq as _;

/// The setting.
const SETTING: &str = "--admin-token-file (LARDER_ADMIN_TOKEN_FILE)";
/// The shortest token: one that can be guessed is none.
const LEAST: usize = 16;
/// The longest file.
const MOST_BYTES: u64 = 4096;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{SETTING}: {} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// What it holds is no token.
    #[error("{SETTING}: {} must hold at least {LEAST} visible characters on one line", .0.display())]
    Malformed(PathBuf),
}

/// A token. Clones are of the same file.
#[derive(Clone, Debug)]
pub struct Token(Arc<Held>);

#[derive(Debug)]
struct Held {
    path: PathBuf,
    token: RwLock<Arc<Secret>>,
}

impl Token {
    /// Reads the file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let token = RwLock::new(Arc::new(read(path)?));
        let path = path.to_owned();
        Ok(Self(Arc::new(Held { path, token })))
    }

    /// Takes what the file says now; what was read before stays where that is no token. Whether
    /// the token is another one.
    pub fn look(&self) -> Result<bool, Error> {
        let read = read(&self.0.path)?;
        if *self.current() == read {
            return Ok(false);
        }
        *self.0.token.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
        Ok(true)
    }

    /// Whether a text is the token, in a time that does not tell where they differ.
    pub fn is(&self, text: &[u8]) -> bool {
        self.current().expose().as_bytes().ct_eq(text).into()
    }

    /// The value of `authorization` that shows it.
    pub fn bearer(&self) -> Option<HeaderValue> {
        let text = format!("Bearer {}", self.current().expose());
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn current(&self) -> Arc<Secret> {
        let token = self.0.token.read();
        token.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(path: &Path) -> Result<Secret, Error> {
    let unreadable = |error| Error::Unreadable(path.to_owned(), error);
    let malformed = || Error::Malformed(path.to_owned());
    if std::fs::metadata(path).map_err(unreadable)?.len() > MOST_BYTES {
        return Err(malformed());
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let token = bytes.trim_ascii();
    match token.len() >= LEAST && token.iter().all(u8::is_ascii_graphic) {
        true => Ok(Secret::from(String::from_utf8_lossy(token).into_owned())),
        false => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "correct-horse-battery";
    const SECOND: &str = "staple-correct-horse-";

    #[test]
    fn a_token_is_what_the_file_says_and_is_never_printed() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&file, format!("{FIRST}\n")).expect("written");
        let token = Token::open(file.path()).expect("a token");
        assert!(token.is(FIRST.as_bytes()));
        for wrong in ["", "correct-horse-batter", "correct-horse-batterz", SECOND] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
        assert!(!format!("{token:?} {:?}", token.bearer()).contains("horse"));
        assert!(!token.look().expect("the same"));

        std::fs::write(&file, SECOND).expect("written");
        assert!(token.look().expect("another"));
        assert!(token.is(SECOND.as_bytes()) && !token.is(FIRST.as_bytes()));

        for broken in [
            "",
            "short",
            "two tokens in one file",
            "a-token-which-has-\u{e9}",
        ] {
            std::fs::write(&file, broken).expect("written");
            assert!(matches!(token.look(), Err(Error::Malformed(_))), "{broken}");
        }
        assert!(token.is(SECOND.as_bytes()), "what was read before stays");
        let missing = Token::open(Path::new("/nowhere/token")).expect_err("missing");
        assert!(missing.to_string().starts_with("--admin-token-file"));
    }
}
