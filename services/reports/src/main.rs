//! The reports service as a process.

use clap::Parser;
use larder_reports::process::Settings;

/// The reports service: what was sold, and what that says.
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
