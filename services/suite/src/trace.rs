//! Access traces: keys of four bytes, most significant first, in the order of access; as they
//! are or packed by xz.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why a file is not a trace that can be replayed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It begins as xz does, and then something is wrong.
    #[error("{} is not whole: its xz stream is damaged or cut short", path.display())]
    Unpack {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Unpack,
    },
    /// It does not end where a key ends.
    #[error("{} is cut short or no trace: {bytes} bytes are not whole keys of 4 bytes", path.display())]
    Cut {
        /// The file.
        path: PathBuf,
        /// How many bytes it has, unpacked.
        bytes: usize,
    },
    /// It is something else.
    #[error("{} is no trace but {what}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// There is nothing in it.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// What the unpacking library says; its own error type keeps its cause to itself.
#[derive(Debug, thiserror::Error)]
#[error("{0:?}")]
pub struct Unpack(lzma_rs::error::Error);

/// More than this is no trace that fits into memory; a small file can claim to hold it.
const MAX_BYTES: usize = 1 << 30;
const XZ: [u8; 6] = [0xFD, b'7', b'z', b'X', b'Z', 0];

/// The keys in this file.
pub fn read(path: &Path) -> Result<Vec<u32>, Error> {
    let path_buf = || path.to_owned();
    let packed = std::fs::read(path).map_err(|source| Error::Read {
        path: path_buf(),
        source,
    })?;
    let bytes = if packed.starts_with(&XZ) {
        unpack(&packed).map_err(|source| Error::Unpack {
            path: path_buf(),
            source,
        })?
    } else {
        packed
    };
    keys(&bytes).map_err(|problem| match problem {
        Problem::Empty => Error::Empty { path: path_buf() },
        Problem::Cut => Error::Cut {
            path: path_buf(),
            bytes: bytes.len(),
        },
        Problem::Foreign(what) => Error::Foreign {
            path: path_buf(),
            what,
        },
    })
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, Unpack> {
    let mut bytes = Bounded(Vec::new());
    lzma_rs::xz_decompress(&mut io::Cursor::new(packed), &mut bytes).map_err(Unpack)?;
    Ok(bytes.0)
}

enum Problem {
    Empty,
    Cut,
    Foreign(&'static str),
}

fn keys(bytes: &[u8]) -> Result<Vec<u32>, Problem> {
    if let Some(what) = foreign(bytes) {
        return Err(Problem::Foreign(what));
    }
    let (words, rest) = bytes.as_chunks::<4>();
    match (words, rest) {
        ([], []) => Err(Problem::Empty),
        (_, []) => Ok(words.iter().map(|word| u32::from_be_bytes(*word)).collect()),
        _ => Err(Problem::Cut),
    }
}

/// A trace has no mark of its own, so that what is surely something else is told by its marks.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    const MARKS: [(&[u8], &str); 6] = [
        (&[0x1F, 0x8B], "a gzip file"),
        (&[0x28, 0xB5, 0x2F, 0xFD], "a zstd file"),
        (b"BZh", "a bzip2 file"),
        (b"PK\x03\x04", "a zip file"),
        (b"\x7FELF", "a program"),
        (b"SQLite format 3\0", "a SQLite database"),
    ];
    let marked = MARKS
        .iter()
        .find(|(mark, _)| bytes.starts_with(mark))
        .map(|(_, what)| *what);
    let head = &bytes[..bytes.len().min(256)];
    let text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    let is_text = head.len() >= 16 && head.iter().all(text);
    marked.or(is_text.then_some("text"))
}

/// Memory that takes no more than [`MAX_BYTES`].
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BYTES {
            return Err(io::Error::other("it unpacks to more than a gibibyte"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(bytes).expect("written");
        file
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        lzma_rs::xz_compress(&mut io::Cursor::new(bytes), &mut packed).expect("packed");
        packed
    }

    #[test]
    fn a_trace_reads_the_same_plain_and_packed() {
        let bytes = [0, 0, 0, 7, 1, 2, 3, 4];
        let expected = vec![7, 0x0102_0304];
        assert_eq!(read(file(&bytes).path()).expect("plain"), expected);
        assert_eq!(
            read(file(&packed(&bytes)).path()).expect("packed"),
            expected
        );
    }

    #[test]
    fn a_file_that_was_cut_is_refused_whether_packed_or_not() {
        let bytes: Vec<u8> = (0..40_000u32)
            .flat_map(|key| (key % 977).to_be_bytes())
            .collect();
        assert!(matches!(
            read(file(&bytes[..39_999]).path()),
            Err(Error::Cut { .. })
        ));
        let whole = packed(&bytes);
        for length in [whole.len() - 1, whole.len() / 2, XZ.len()] {
            let error = read(file(&whole[..length]).path()).expect_err("cut");
            assert!(matches!(error, Error::Unpack { .. }), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_something_else_is_named() {
        for (bytes, what) in [
            (&b"PK\x03\x04\0\0\0\0"[..], "a zip file"),
            (b"this is no trace but a letter   ", "text"),
            (&[0x1F, 0x8B, 8, 0], "a gzip file"),
        ] {
            let error = read(file(bytes).path()).expect_err(what);
            assert!(error.to_string().ends_with(what), "{error}");
        }
        assert!(matches!(read(file(b"").path()), Err(Error::Empty { .. })));
        assert!(matches!(
            read(Path::new("/no/such/trace")),
            Err(Error::Read { .. })
        ));
    }
}
