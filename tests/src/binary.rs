//! The binary `larder`, for programs that are none of its tests.

use anyhow::{Context as _, Result, ensure};
use std::path::PathBuf;

/// The binary `larder` beside the program that asks; under cargo, built first.
pub fn beside() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("a file lies in a folder")?;
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = std::process::Command::new(cargo);
        build.args([
            "build",
            "--quiet",
            "--package",
            "larder-suite",
            "--bin",
            "larder",
        ]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        ensure!(build.status()?.success(), "larder could not be built");
    }
    let binary = folder.join("larder");
    ensure!(
        binary.exists(),
        "{binary:?} is not there: build it, or name it with --binary"
    );
    Ok(binary)
}
