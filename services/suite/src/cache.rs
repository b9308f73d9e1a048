//! `larder cache …`: the caches of a running suite, looked at, corrected and watched.
//!
//! Every replica has a cache of its own, so a question goes to all of them at once, and each
//! answer says whose it is. Reading order: [`find`] finds them, [`larder_survey`] asks them; the other
//! files are what can be asked, and how it is printed.

mod change;
mod check;
mod find;
mod inspect;
mod stats;
mod watch;

use crate::output::Output;
use clap::{Args, Subcommand};
use find::Keys;
use larder_runtime::config::{Certificates, Logging, Shown};
use larder_runtime::tls::Tls;
use larder_runtime::token::Token;
use std::path::PathBuf;
use std::time::Duration;

pub use check::Inconsistent;

/// The settings of `larder cache`.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(subcommand)]
    command: Command,
    /// Where the replicas' admin ports are, separated by commas [default: the replicas of `larder
    /// up` on this machine, those that answer].
    #[arg(
        long,
        env = "LARDER_ADMIN",
        value_name = "ADDR",
        value_delimiter = ',',
        global = true
    )]
    admin: Vec<String>,
    /// What `larder up` was told to move its ports by.
    #[arg(
        long,
        env = "LARDER_PORT_OFFSET",
        value_name = "N",
        default_value_t = 0,
        global = true
    )]
    port_offset: u16,
    /// What is shown to replicas whose admin ports speak TLS, `https://host:port`.
    #[command(flatten)]
    certificates: Certificates,
    /// The file of the token that the replicas were told of.
    #[arg(
        long,
        env = "LARDER_ADMIN_TOKEN_FILE",
        value_name = "FILE",
        global = true
    )]
    admin_token_file: Option<PathBuf>,
    /// Milliseconds that a replica may take to answer.
    #[arg(
        long,
        env = "LARDER_TIMEOUT_MS",
        value_name = "N",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..=600_000),
        global = true
    )]
    timeout_ms: u64,
    /// How results are printed.
    #[arg(long, env = "LARDER_OUTPUT", value_enum, default_value_t = Output::Human, global = true)]
    output: Output,
    /// What is logged.
    #[command(flatten)]
    pub logging: Logging,
    /// Print the settings as they are understood, and end.
    #[arg(long)]
    pub print_config: bool,
}

/// What can be asked.
#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// What became of reads, and why memory did not answer.
    Stats(stats::Stats),
    /// The keys that are read most.
    Hot(stats::Hot),
    /// What another size or another life of the entries would do.
    Advise(stats::Advise),
    /// One key in every replica's memory, in the remote tier and in the source, side by side.
    Inspect(inspect::Inspect),
    /// Drops copies, in every process.
    Invalidate(change::Invalidate),
    /// Fills every replica's memory with keys.
    Warm(change::Warm),
    /// Compares copies with the source, and drops those that are wrong; then the exit code is 3.
    Check(check::Check),
    /// What goes on, until Ctrl-C.
    Watch(watch::Watch),
}

impl Settings {
    /// The settings as they are understood.
    pub fn shown(&self) -> Shown {
        let shown = Shown::default()
            .line("admin", self.admin.join(","))
            .line("port-offset", self.port_offset);
        let token = self
            .admin_token_file
            .as_deref()
            .map(std::path::Path::display);
        self.certificates
            .show(shown)
            .line(
                "admin-token-file",
                token.map_or("none".to_owned(), |token| token.to_string()),
            )
            .line("timeout-ms", self.timeout_ms)
            .line("output", format!("{:?}", self.output).to_lowercase())
            .line("log", &self.logging.log)
    }
}

/// Asks what was to be asked.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let limit = Duration::from_millis(settings.timeout_ms);
    let keys = Keys {
        tls: Tls::open(&settings.certificates)?,
        token: settings
            .admin_token_file
            .as_deref()
            .map(Token::open)
            .transpose()?,
    };
    let replicas = find::find(&settings.admin, settings.port_offset, limit, &keys).await?;
    let output = settings.output;
    match settings.command {
        Command::Stats(asked) => stats::stats(&replicas, asked, output).await,
        Command::Hot(asked) => stats::hot(&replicas, asked, output).await,
        Command::Advise(asked) => stats::advise(&replicas, asked, output).await,
        Command::Inspect(asked) => inspect::inspect(&replicas, asked, output).await,
        Command::Invalidate(asked) => change::invalidate(&replicas, asked, output).await,
        Command::Warm(asked) => change::warm(&replicas, asked, output).await,
        Command::Check(asked) => check::check(&replicas, asked, output).await,
        Command::Watch(asked) => watch::watch(&replicas, asked, output).await,
    }
}
