//! `larder load`: sample data, written straight into the databases.
//!
//! The same seed and numbers make the same rows; what is there already stays. Replicas that run
//! meanwhile notice with their next round, as they do with any row that somebody else writes.

use crate::output::Output;
use crate::progress::bar;
use anyhow::Context as _;
use clap::Args;
use larder::remote;
use larder_host::{Opening, Parts, Service};
use larder_journal::Journal;
use larder_reports::Reports;
use larder_runtime::config::{Address, Logging, Shown};
use serde::Serialize;
use std::fmt;
use std::time::{Duration, Instant};

/// The settings of `larder load`.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// How many profiles there shall be.
    #[arg(
        long,
        env = "LARDER_PROFILES",
        value_name = "N",
        default_value_t = 1_000
    )]
    profiles: u64,
    /// How many products there shall be.
    #[arg(
        long,
        env = "LARDER_PRODUCTS",
        value_name = "N",
        default_value_t = 2_000
    )]
    products: u64,
    /// How many comments there shall be, spread over those products and profiles.
    #[arg(
        long,
        env = "LARDER_COMMENTS",
        value_name = "N",
        default_value_t = 10_000
    )]
    comments: u64,
    /// How many orders there shall be, of those products by those profiles, in 2025 and 2026.
    #[arg(
        long,
        env = "LARDER_ORDERS",
        value_name = "N",
        default_value_t = 20_000
    )]
    orders: u64,
    /// What they are like: the same for the same seed.
    #[arg(long, env = "LARDER_SEED", value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The database: see `larder up`.
    #[arg(
        long,
        env = "DATABASE_URL",
        value_name = "URL",
        default_value = "sqlite://larder-data",
        hide_env_values = true
    )]
    database: Address,
    /// How the result is printed.
    #[arg(long, env = "LARDER_OUTPUT", value_enum, default_value_t = Output::Human)]
    output: Output,
    /// What is logged.
    #[command(flatten)]
    pub logging: Logging,
    /// Print the settings as they are understood, secrets starred, and end.
    #[arg(long)]
    pub print_config: bool,
}

impl Settings {
    /// The settings as they are understood.
    pub fn shown(&self) -> Shown {
        Shown::default()
            .line("profiles", self.profiles)
            .line("products", self.products)
            .line("comments", self.comments)
            .line("orders", self.orders)
            .line("seed", self.seed)
            .line("database", &self.database)
            .line("log", &self.logging.log)
    }
}

/// What was written.
#[derive(Serialize)]
struct Written {
    profiles: u64,
    products: u64,
    comments: u64,
    orders: u64,
    seconds: f64,
}

/// Loads all four, one after the other: a comment has an author and a product, and an order a
/// customer and a product.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let Settings {
        profiles,
        products,
        comments,
        orders,
        seed,
        database,
        ..
    } = &settings;
    let began = Instant::now();

    let journal = open(&larder_profiles::Profiles, database).await?;
    let progress = bar(*profiles, "profiles");
    let made_profiles =
        larder_profiles::sample::load(&journal, *profiles, *seed, |n| progress.set_position(n));
    let made_profiles = made_profiles.await.context("loading profiles")?;
    progress.finish();

    let made_products = load_products(database, *products, *seed).await?;

    let journal = open(&larder_comments::Comments::detached(), database).await?;
    let (progress, spread) = (bar(*comments, "comments"), (*products, *profiles));
    let made_comments = larder_comments::sample::load(&journal, *comments, spread, *seed, |n| {
        progress.set_position(n);
    });
    let made_comments = made_comments.await.context("loading comments")?;
    progress.finish();

    let journal = open(&Reports::detached(), database).await?;
    let (progress, spread) = (bar(*orders, "orders"), (*products, *profiles));
    let made_orders = larder_reports::sample::load(&journal, *orders, spread, *seed, |n| {
        progress.set_position(n);
    });
    let made_orders = made_orders.await.context("loading orders")?;
    progress.finish();

    settings.output.print(&Written {
        profiles: made_profiles,
        products: made_products,
        comments: made_comments,
        orders: made_orders,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// Makes those of the first `count` sample products that are not there yet.
pub async fn load_products(database: &Address, count: u64, seed: u64) -> anyhow::Result<u64> {
    let journal = open(&larder_products::Products, database).await?;
    let progress = bar(count, "products");
    let load = larder_products::sample::load(&journal, count, seed, |n| progress.set_position(n));
    let made = load.await.context("loading products")?;
    progress.finish();
    journal.database().close().await;
    Ok(made)
}

/// Opens a service's database with everything in it that the service itself would make.
pub async fn open(service: &impl Service, database: &Address) -> anyhow::Result<Journal> {
    let remote = remote::open("hub:").context("an embedded remote tier")?;
    let opening = Opening::of(&Parts::new(remote, database.clone()));
    let journal = opening.journal(service).await;
    journal.with_context(|| format!("--database (DATABASE_URL) {database}"))
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            profiles,
            products,
            comments,
            orders,
            seconds,
        } = self;
        let took = Duration::from_secs_f64(*seconds);
        writeln!(
            f,
            "{profiles} profiles, {products} products, {comments} comments and {orders} orders \
             made in {took:.1?}"
        )
    }
}
