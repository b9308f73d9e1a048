//! Real access traces, which are not part of the project.

use std::path::{Path, PathBuf};

/// The keys of a trace in the order of their access, such as `web12.trace.xz`: looked for in the
/// folder that `LARDER_TRACES` names, or else beside the workspace. `None`, and a line that says
/// so, when it is not there.
pub fn trace(name: &str) -> Option<Vec<u32>> {
    let path = folder().join(name);
    let keys = std::fs::File::open(&path)
        .ok()
        .and_then(|file| decode(file).ok());
    if keys.is_none() {
        eprintln!(
            "SKIPPED: there is no readable trace {}; set LARDER_TRACES",
            path.display()
        );
    }
    keys
}

fn folder() -> PathBuf {
    let named = std::env::var_os("LARDER_TRACES");
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/traces");
    named.map_or_else(beside, PathBuf::from)
}

/// Big-endian integers of four bytes each, packed by xz.
fn decode(file: std::fs::File) -> Result<Vec<u32>, lzma_rs::error::Error> {
    let mut bytes = Vec::new();
    lzma_rs::xz_decompress(&mut std::io::BufReader::new(file), &mut bytes)?;
    let (words, _) = bytes.as_chunks::<4>();
    Ok(words.iter().map(|word| u32::from_be_bytes(*word)).collect())
}
