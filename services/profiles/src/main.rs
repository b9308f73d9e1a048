//! The profiles service as a process.

use anyhow::Result;
use clap::Parser;
use larder_host::{Parts, asked_to_end};
use larder_profiles::{ADMIN_PORT, GRPC_PORT, Profiles};
use larder_runtime::config::Common;
use larder_runtime::telemetry;
use larder_runtime::tls::Tls;

/// The profiles service: who people are.
#[derive(Parser)]
#[command(version)]
struct Config {
    #[command(flatten)]
    common: Common,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Config { common } = Config::parse();
    common.seams.check()?;
    if common.print_config {
        print!("{}", common.shown(GRPC_PORT, ADMIN_PORT));
        return Ok(());
    }
    telemetry::init(&common.logging)?;
    let parts = Parts::of(
        &common,
        Tls::open(&common.certificates)?,
        GRPC_PORT,
        ADMIN_PORT,
    )?;
    Ok(larder_host::run(Profiles, parts, asked_to_end()).await?)
}
