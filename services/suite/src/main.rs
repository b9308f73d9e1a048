//! `larder`: everything on one machine, and the operator's command line.
//!
//! Owns no logic of the services: [`up`] starts them side by side in this process, [`load`] and
//! [`import`] have them fill their databases, [`replay`] drives them from outside, as any client
//! would, and holds what they answer against what they promise, [`bench`] measures what their
//! caches bring, and [`cache`] asks these caches. For containers, [`serve`] runs one service by
//! itself, [`migrate`] prepares the databases, and [`healthcheck`] asks whether a process is ready. Reading order: [`services`] is what the suite
//! consists of, and everything else follows the command line.

mod bench;
mod cache;
mod chance;
mod front;
mod healthcheck;
mod history;
mod import;
mod load;
mod migrate;
mod output;
mod prepare;
mod progress;
mod replay;
mod scrape;
mod serve;
mod services;
mod target;
mod trace;
mod up;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use larder_runtime::{config, telemetry};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Larder: profiles, products, comments and reports over a cache that keeps its promise.
#[derive(Parser)]
#[command(name = "larder", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: up::Settings,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the whole suite on this machine; so does `larder` without a command.
    Up(up::Settings),
    /// Fills the databases with sample data.
    Load(load::Settings),
    /// Measures the suite with its cache and without.
    Bench(bench::Settings),
    /// Records the orders of a file.
    Import(import::Settings),
    /// Drives the suite with an access trace, and checks that no answer is too old.
    Replay(replay::Settings),
    /// Looks at the caches of a running suite, corrects them, and watches them.
    Cache(cache::Settings),
    /// Runs one service as a process of its own, as its own binary does.
    Serve(serve::Settings),
    /// Brings the services' tables up to date, and ends.
    Migrate(migrate::Settings),
    /// Asks a process of this machine whether it is ready.
    Healthcheck(healthcheck::Settings),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("larder: {error:#}");
            match error.is::<cache::Inconsistent>() {
                // What was asked is answered, and the answer is bad news.
                true => ExitCode::from(3),
                false => ExitCode::FAILURE,
            }
        }
    }
}

fn run() -> anyhow::Result<()> {
    let Cli { command, up } = parse();
    let command = command.unwrap_or(Command::Up(up));
    if let Some(settings) = command.shown() {
        print!("{settings}");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.context("starting the threads")?.block_on(async {
        let telemetry = match &command {
            Command::Up(settings) => Some(telemetry::init("larder", &settings.logging)?),
            command => {
                command.logging().map(telemetry::log).transpose()?;
                None
            }
        };
        let ended = match command {
            Command::Up(settings) => up::run(settings).await,
            Command::Load(settings) => load::run(settings).await,
            Command::Bench(settings) => bench::run(settings).await,
            Command::Import(settings) => import::run(settings).await,
            Command::Replay(settings) => replay::run(settings).await,
            Command::Cache(settings) => cache::run(settings).await,
            Command::Serve(settings) => serve::run(settings).await,
            Command::Migrate(settings) => migrate::run(settings).await,
            Command::Healthcheck(settings) => healthcheck::run(settings).await,
        };
        if let Some(telemetry) = telemetry {
            telemetry.end().await;
        }
        ended
    })
}

/// Commands that come to an end show a progress bar, which log lines would tear apart: they log
/// what is wrong only, unless they are told otherwise.
fn parse() -> Cli {
    let quiet = |command: clap::Command| command.mut_arg("log", |arg| arg.default_value("warn"));
    let command = Cli::command()
        .mut_subcommand("bench", quiet)
        .mut_subcommand("load", quiet)
        .mut_subcommand("import", quiet)
        .mut_subcommand("replay", quiet)
        .mut_subcommand("cache", quiet);
    let matches = command.get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

impl Command {
    /// What it logs; `None` where a service sees to that itself, whose settings are its own.
    fn logging(&self) -> Option<&config::Logging> {
        Some(match self {
            Self::Up(settings) => &settings.logging,
            Self::Load(settings) => &settings.logging,
            Self::Bench(settings) => &settings.logging,
            Self::Import(settings) => &settings.logging,
            Self::Replay(settings) => &settings.logging,
            Self::Cache(settings) => &settings.logging,
            Self::Migrate(settings) => &settings.logging,
            Self::Healthcheck(settings) => &settings.logging,
            Self::Serve(_) => return None,
        })
    }

    /// The settings as they are understood, if that is what was asked for.
    fn shown(&self) -> Option<config::Shown> {
        match self {
            Self::Up(settings) => settings.print_config.then(|| settings.shown()),
            Self::Load(settings) => settings.print_config.then(|| settings.shown()),
            Self::Bench(settings) => settings.print_config.then(|| settings.shown()),
            Self::Import(settings) => settings.print_config.then(|| settings.shown()),
            Self::Replay(settings) => settings.print_config.then(|| settings.shown()),
            Self::Cache(settings) => settings.print_config.then(|| settings.shown()),
            Self::Migrate(settings) => settings.print_config.then(|| settings.shown()),
            Self::Healthcheck(settings) => settings.print_config.then(|| settings.shown()),
            Self::Serve(_) => None,
        }
    }
}
