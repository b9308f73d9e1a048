//! `larder serve SERVICE`: one service as a process of its own, as its own binary runs it, so that
//! one image holds all of them.

use clap::{Args, Subcommand};

/// Which service, and its settings.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(subcommand)]
    service: Service,
}

/// The services, each with the settings that its own binary has.
#[derive(Subcommand, Clone, Debug)]
enum Service {
    /// The profiles service: who people are.
    Profiles(Box<larder_profiles::process::Settings>),
    /// The products service: what is for sale.
    Products(Box<larder_products::process::Settings>),
    /// The comments service: what people say about products.
    Comments(Box<larder_comments::process::Settings>),
    /// The reports service: what was sold, and what that says.
    Reports(Box<larder_reports::process::Settings>),
    /// The gateway: the suite over HTTP, for people, browsers and crawlers.
    Gateway(Box<larder_gateway::settings::Settings>),
}

/// Runs the service until it is asked to end, or cannot go on.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    match settings.service {
        Service::Profiles(settings) => settings.run().await,
        Service::Products(settings) => settings.run().await,
        Service::Comments(settings) => settings.run().await,
        Service::Reports(settings) => settings.run().await,
        Service::Gateway(settings) => settings.run().await,
    }
}
