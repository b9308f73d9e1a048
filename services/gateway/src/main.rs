//! The gateway as a process.

use anyhow::{Context as _, Result};
use clap::Parser;
use larder_gateway::settings::Settings;
use larder_gateway::{ADMIN_PORT, Gateway, HTTP_PORT};
use larder_runtime::{shutdown, telemetry};

/// The gateway: the suite over HTTP, for people, browsers and crawlers.
#[derive(Parser)]
#[command(version)]
struct Config {
    #[command(flatten)]
    settings: Settings,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Config { settings } = Config::parse();
    settings.check()?;
    if settings.print_config {
        print!("{}", settings.shown(HTTP_PORT, ADMIN_PORT));
        return Ok(());
    }
    telemetry::init(&settings.logging)?;
    let parts = settings.parts()?;
    let (http, admin) = settings.listen.take(HTTP_PORT, ADMIN_PORT).await?;
    let ended = shutdown::requested();
    Gateway::on(http, admin, parts)
        .serve(async {
            if let Err(error) = ended.await.context("listening to signals") {
                tracing::error!(error = %format!("{error:#}"), "signals cannot be listened to");
                std::future::pending().await
            }
        })
        .await;
    Ok(())
}
