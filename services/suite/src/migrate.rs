//! `larder migrate`: brings the services' tables and triggers up to date, and ends.
//!
//! What a service does when it starts, without the service: a rollout runs it first, so that no
//! replica waits for another's migration. It may be run again, and by several at once.

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use larder::remote;
use larder_comments::Comments;
use larder_host::{Opening, Parts, Service};
use larder_products::Products;
use larder_profiles::Profiles;
use larder_reports::Reports;
use larder_runtime::config::{Address, Logging, Shown};

/// The settings of `larder migrate`.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Whose tables.
    #[arg(value_enum, value_name = "SERVICE", default_value_t = Whose::All)]
    whose: Whose,
    /// The database: see `larder up`.
    #[arg(
        long,
        env = "DATABASE_URL",
        value_name = "URL",
        default_value = "sqlite://larder-data",
        hide_env_values = true
    )]
    database: Address,
    /// What is logged.
    #[command(flatten)]
    pub logging: Logging,
    /// Print the settings as they are understood, secrets starred, and end.
    #[arg(long)]
    pub print_config: bool,
}

/// Whose tables are brought up to date.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Whose {
    /// Those of all services.
    All,
    /// Those of profiles.
    Profiles,
    /// Those of products.
    Products,
    /// Those of comments.
    Comments,
    /// Those of reports.
    Reports,
}

impl Settings {
    /// The settings as they are understood.
    pub fn shown(&self) -> Shown {
        Shown::default()
            .line("service", format!("{:?}", self.whose).to_lowercase())
            .line("database", &self.database)
            .line("log", &self.logging.log)
    }
}

/// Brings them up to date, one after the other. The first that cannot be ends it.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let hub = remote::open("hub:").context("the remote tier inside this process")?;
    let opening = Opening::of(&Parts::new(hub, settings.database));
    let wanted = |whose| [Whose::All, whose].contains(&settings.whose);
    if wanted(Whose::Profiles) {
        migrate(&opening, &Profiles).await?;
    }
    if wanted(Whose::Products) {
        migrate(&opening, &Products).await?;
    }
    if wanted(Whose::Comments) {
        migrate(&opening, &Comments::detached()).await?;
    }
    if wanted(Whose::Reports) {
        migrate(&opening, &Reports::detached()).await?;
    }
    Ok(())
}

async fn migrate(opening: &Opening, service: &impl Service) -> anyhow::Result<()> {
    let journal = opening.journal(service).await?;
    journal.database().close().await;
    println!("{}: up to date", service.name());
    Ok(())
}
