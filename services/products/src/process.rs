//! The service as a process: what it can be told, and how it runs. Its own binary and `larder serve`
//! both parse these settings and call [`Settings::run`].

use crate::{ADMIN_PORT, GRPC_PORT, Products};
use anyhow::Result;
use clap::Args;
use larder_runtime::config::Common;
use larder_runtime::tls::Tls;

/// Everything that the process can be told.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// What every service can be told.
    #[command(flatten)]
    common: Common,
}

impl Settings {
    /// Runs the service until the process is asked to end; prints the settings instead where that
    /// is what was asked for.
    pub async fn run(self) -> Result<()> {
        let Self { common } = self;
        common.seams.check()?;
        if common.print_config {
            print!("{}", common.shown(GRPC_PORT, ADMIN_PORT));
            return Ok(());
        }
        let tls = Tls::open(&common.certificates)?;
        larder_host::run(Products, &common, tls, GRPC_PORT, ADMIN_PORT).await?;
        Ok(())
    }
}
