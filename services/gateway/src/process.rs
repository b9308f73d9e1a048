//! The gateway as a process. Its own binary and `larder serve` both parse [`Settings`] and call
//! [`Settings::run`].

use crate::settings::Settings;
use crate::{ADMIN_PORT, Gateway, HTTP_PORT};
use anyhow::Result;
use larder_runtime::{shutdown, telemetry};

impl Settings {
    /// Runs the gateway until the process is asked to end; prints the settings instead where that
    /// is what was asked for.
    pub async fn run(self) -> Result<()> {
        self.check()?;
        if self.print_config {
            print!("{}", self.shown(HTTP_PORT, ADMIN_PORT));
            return Ok(());
        }
        let telemetry = telemetry::init("larder-gateway", &self.logging)?;
        let parts = self.parts()?;
        let (http, admin) = self.listen.take(HTTP_PORT, ADMIN_PORT).await?;
        let health = self.listen.take_health().await?;
        let gateway = Gateway::on(http, admin, parts).health_on(health);
        gateway.serve(shutdown::asked_to_end()).await;
        telemetry.end().await;
        Ok(())
    }
}
