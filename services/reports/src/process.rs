//! The service as a process: what it can be told, and how it runs. Its own binary and `larder serve`
//! both parse these settings and call [`Settings::run`].

use crate::{ADMIN_PORT, GRPC_PORT, PRODUCTS, Reports, WARM_AT, warm::Schedule};
use anyhow::Result;
use clap::Args;
use larder_runtime::client::{self, Client};
use larder_runtime::config::Common;
use larder_runtime::tls::Tls;

/// Everything that the process can be told.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// What every service can be told.
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

impl Settings {
    /// Runs the service until the process is asked to end; prints the settings instead where that
    /// is what was asked for.
    pub async fn run(self) -> Result<()> {
        let Self {
            common,
            products,
            warm_at,
        } = self;
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
        let reports = Reports::new(client, warm_at);
        larder_host::run(reports, &common, tls, GRPC_PORT, ADMIN_PORT).await?;
        Ok(())
    }
}
