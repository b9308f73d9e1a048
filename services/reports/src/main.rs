//! The reports service as a process.

use anyhow::Result;
use clap::Parser;
use larder_host::{Parts, asked_to_end};
use larder_reports::warm::Schedule;
use larder_reports::{ADMIN_PORT, GRPC_PORT, PRODUCTS, Reports, WARM_AT};
use larder_runtime::client::{self, Client};
use larder_runtime::config::Common;
use larder_runtime::telemetry;
use larder_runtime::tls::Tls;

/// The reports service: what was sold, and what that says.
#[derive(Parser)]
#[command(version)]
struct Config {
    #[command(flatten)]
    common: Common,
    /// Where the products are: `http://host:port` of each replica, separated by commas.
    #[arg(long, env = "PRODUCTS_ADDR", value_name = "URLS", default_value = PRODUCTS)]
    products: String,
    /// When last month's standard reports are computed ahead: times of the day in UTC, separated by
    /// commas, or `never`. Of all replicas one computes each.
    #[arg(long, env = "LARDER_WARM_AT", value_name = "TIMES", default_value = WARM_AT)]
    warm_at: Schedule,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Config {
        common,
        products,
        warm_at,
    } = Config::parse();
    common.seams.check()?;
    let limits = client::Limits::default();
    let tls = Tls::open(&common.certificates)?;
    let client = Client::over(
        "--products (PRODUCTS_ADDR)",
        &products,
        limits,
        tls.as_ref(),
    )?;
    if common.print_config {
        let shown = common.shown(GRPC_PORT, ADMIN_PORT);
        let shown = shown.line("products", products);
        print!("{}", shown.line("warm-at", warm_at));
        return Ok(());
    }
    telemetry::init(&common.logging)?;
    let parts = Parts::of(&common, tls, GRPC_PORT, ADMIN_PORT)?;
    let reports = Reports::new(client, warm_at);
    Ok(larder_host::run(reports, parts, asked_to_end()).await?)
}
