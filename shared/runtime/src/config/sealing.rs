//! What proves that entries and hints in the remote tier were written by the suite.

use super::Shown;
use clap::Args;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The key that entries and hints are sealed with. All replicas of a service need the same one; with
/// different ones they are as right as ever, and only share nothing through the remote tier.
#[derive(Args, Clone, Debug, Default)]
pub struct Sealing {
    /// A file with 64 hexadecimal digits, as `openssl rand -hex 32` prints them: the key that values
    /// and hints in the remote tier are authenticated with, so that whoever can write there cannot
    /// plant an answer [default: they are only protected against accidents].
    #[arg(long, env = "LARDER_SEAL_KEY_FILE", value_name = "FILE")]
    pub seal_key_file: Option<PathBuf>,
}

/// Why there is no key. What the file holds is never told.
#[derive(Debug, thiserror::Error)]
pub enum NoSealKey {
    /// The file cannot be read.
    #[error("--seal-key-file (LARDER_SEAL_KEY_FILE): {} cannot be read", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "--seal-key-file (LARDER_SEAL_KEY_FILE): {} does not hold 64 hexadecimal digits and nothing \
         else",
        path.display()
    )]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
}

/// Digits, and room for what an editor leaves behind them.
const MOST_BYTES: u64 = 256;

impl Sealing {
    /// Reads the key, if there is to be one.
    pub fn key(&self) -> Result<Option<[u8; 32]>, NoSealKey> {
        let Some(path) = &self.seal_key_file else {
            return Ok(None);
        };
        let text = read(path).map_err(|source| NoSealKey::Unreadable {
            path: path.clone(),
            source,
        })?;
        match digits(text.trim_ascii()) {
            Some(key) => Ok(Some(key)),
            None => Err(NoSealKey::Malformed { path: path.clone() }),
        }
    }

    /// Adds its settings to what is printed.
    pub fn show(&self, shown: Shown) -> Shown {
        let path = self.seal_key_file.as_deref();
        let path = path.map_or_else(|| "none".to_owned(), |path| path.display().to_string());
        shown.line("seal-key-file", path)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

fn digits(text: &[u8]) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_chunks::<2>();
    let mut key = [0; 32];
    if pairs.len() != key.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";

    #[test]
    fn a_key_is_sixty_four_digits_and_whatever_an_editor_leaves_behind_them() {
        let key: [u8; 32] = std::array::from_fn(|n| n as u8);
        assert_eq!(digits(DIGITS.as_bytes()), Some(key));
        for text in [
            "",
            "00",
            &DIGITS[1..],
            &DIGITS.replace('A', "g"),
            &"é".repeat(32),
        ] {
            assert_eq!(digits(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_file_that_is_none_is_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let of = |path: &Path| Sealing {
            seal_key_file: Some(path.to_owned()),
        };
        assert!(Sealing::default().key().unwrap().is_none());
        assert!(matches!(of(&path).key(), Err(NoSealKey::Unreadable { .. })));
        std::fs::write(&path, format!("{DIGITS}\n")).unwrap();
        assert!(of(&path).key().unwrap().is_some());
        for text in [String::new(), format!("hush{DIGITS}"), DIGITS.repeat(20)] {
            std::fs::write(&path, &text).unwrap();
            let error = of(&path).key().unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(error.to_string().contains("LARDER_SEAL_KEY_FILE"), "{said}");
            assert!(!said.contains("0001"), "{said}");
        }
    }
}
