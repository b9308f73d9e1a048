//! The command line, run to its end.

use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// What a command left behind.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub printed: String,
    /// What it said to standard error.
    pub said: String,
}

/// Runs the binary with these arguments, in this folder, to its end and at most so long. Settings
/// in the environment of the tests do not reach it.
pub async fn run(
    binary: impl AsRef<Path>,
    folder: &Path,
    args: &[&str],
    limit: Duration,
) -> Result<Finished> {
    let mut command = Command::new(binary.as_ref());
    command.args(args).current_dir(folder).kill_on_drop(true);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for setting in ["REDIS_URL", "DATABASE_URL", "RUST_LOG"] {
        command.env_remove(setting);
    }
    let output = tokio::time::timeout(limit, command.output()).await;
    let output = output.with_context(|| format!("{args:?} is not over within {limit:?}"))??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Finished {
        code: output.status.code(),
        printed: text(output.stdout),
        said: text(output.stderr),
    })
}
