//! The gateway as a process.

use clap::Parser;
use larder_gateway::settings::Settings;

/// The gateway: the suite over HTTP, for people, browsers and crawlers.
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
