//! The comments service as a process.

use clap::Parser;
use larder_comments::process::Settings;

/// The comments service: what people say about products.
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
