//! The products service as a process.

use clap::Parser;
use larder_products::process::Settings;

/// The products service: what is for sale.
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
