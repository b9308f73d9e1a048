//! The service as a process: what it can be told, and how it runs. Its own binary and `larder serve`
//! both parse these settings and call [`Settings::run`].

use crate::{ADMIN_PORT, Comments, GRPC_PORT, PROFILES, crowd};
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
    /// Where the profiles are: `http://host:port` of each replica, separated by commas.
    #[arg(long, env = "PROFILES_ADDR", value_name = "URLS", default_value = PROFILES)]
    profiles: String,
    /// From how many followers on somebody's comment has its page made ready in every replica
    /// before they ask for it; 0 for never.
    #[arg(long, env = "LARDER_CROWD_FOLLOWERS", value_name = "COUNT", default_value_t = crowd::FOLLOWERS)]
    crowd_followers: u64,
}

impl Settings {
    /// Runs the service until the process is asked to end; prints the settings instead where that
    /// is what was asked for.
    pub async fn run(self) -> Result<()> {
        let Self {
            common,
            profiles,
            crowd_followers,
        } = self;
        common.seams.check()?;
        let limits = client::Limits::default();
        let tls = Tls::open(&common.certificates)?;
        let client = Client::over(
            "--profiles (PROFILES_ADDR)",
            &profiles,
            limits,
            tls.as_ref(),
        )?;
        if common.print_config {
            let shown = common.shown(GRPC_PORT, ADMIN_PORT);
            let shown = shown.line("profiles", profiles);
            print!("{}", shown.line("crowd-followers", crowd_followers));
            return Ok(());
        }
        let comments = Comments::new(client).crowd_followers(crowd_followers);
        larder_host::run(comments, &common, tls, GRPC_PORT, ADMIN_PORT).await?;
        Ok(())
    }
}
