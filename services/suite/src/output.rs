//! How results are printed.

use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write as _};

/// How results are printed.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// For a person.
    Human,
    /// One JSON object.
    Json,
}

impl Output {
    /// Prints a result to standard output. That whoever reads it hangs up is their affair.
    pub fn print(self, result: &(impl Serialize + Display)) -> anyhow::Result<()> {
        let text = match self {
            Self::Human => result.to_string(),
            Self::Json => serde_json::to_string(result)? + "\n",
        };
        match io::stdout()
            .write_all(text.as_bytes())
            .and_then(|()| io::stdout().flush())
        {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }
}
