//! The profiles service as a process.

use clap::Parser;
use larder_profiles::process::Settings;

/// The profiles service: who people are.
#[derive(Parser)]
#[command(version)]
struct Config {
    #[command(flatten)]
    settings: Settings,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    Config::parse().settings.run().await
}
