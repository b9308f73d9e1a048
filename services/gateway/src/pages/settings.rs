//! The settings of the pages.

use super::address::PublicUrl;
use clap::Args;
use std::net::SocketAddr;
use std::str::FromStr;

/// How pages name themselves, and how long others may keep them.
#[derive(Args, Clone, Debug)]
// What it is flattened into is called so, too.
#[group(skip)]
pub struct Settings {
    /// The address that the public knows this site by, for links that leave the page: canonical
    /// addresses, structured data, the map of the site. By default where HTTP is.
    #[arg(long, env = "LARDER_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<PublicUrl>,
    /// What prices are in, as three letters of ISO 4217.
    #[arg(
        long,
        env = "LARDER_CURRENCY",
        value_name = "CODE",
        default_value = "EUR"
    )]
    pub currency: Currency,
    /// How long browsers and caches on the way may show a page without asking again.
    #[arg(
        long,
        env = "LARDER_PAGE_MAX_AGE_SECONDS",
        value_name = "N",
        default_value_t = 5
    )]
    pub page_max_age_seconds: u32,
    /// How long after that they may show it once more while they ask.
    #[arg(
        long,
        env = "LARDER_PAGE_STALE_SECONDS",
        value_name = "N",
        default_value_t = 30
    )]
    pub page_stale_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_url: None,
            currency: Currency("EUR".to_owned()),
            page_max_age_seconds: 5,
            page_stale_seconds: 30,
        }
    }
}

impl Settings {
    /// The address of the site, if HTTP is here.
    pub fn site(&self, http: SocketAddr) -> PublicUrl {
        self.public_url
            .clone()
            .unwrap_or_else(|| PublicUrl::at(http))
    }
}

/// A currency whose hundredths prices are counted in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Currency(String);

impl Currency {
    /// Its three letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Currency {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let letters = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        letters
            .then(|| Self(text.to_owned()))
            .ok_or("must be three capital letters such as EUR")
    }
}
