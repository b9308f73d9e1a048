//! HTML for people and crawlers.
//!
//! A page is rendered on this side of the wire, needs no script, and is made of answers that are
//! asked for anew each time: what is kept is the rendering alone (`press.rs`), so that a page is
//! never older than its parts. It says of itself what they say: where the farthest of them came
//! from and how old they can be, and a token of a write that a request shows reaches each of them.
//! A page that misses a part, or has a stale one, is sent all the same, and must not be kept.
//!
//! Reading order: `product.rs` is a page from the request to the answer, `category.rs` and
//! `home.rs` are the others, `sitemap.rs` is for crawlers. `layout.rs`, `linked.rs` and `text.rs`
//! are what all are made with; [`crate::document`] and [`crate::conditional`] send them.

mod address;
mod ask;
mod assets;
mod category;
mod failure;
mod home;
mod layout;
mod linked;
mod press;
mod product;
mod settings;
mod sightings;
mod sitemap;
mod text;

pub use address::PublicUrl;
pub use press::{Press, Sheet};
pub use settings::{Currency, Settings};

use crate::backends::Backends;
use crate::document::Document;
use crate::problem;
use axum::Router;
use axum::http::header::{ACCEPT, CACHE_CONTROL};
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use failure::Failure;
use larder::Larder;
use larder_wire::Mark;
use sightings::Sightings;
use sitemap::Index;
use std::sync::Arc;
use std::time::SystemTime;

/// The pages of a site.
pub struct Pages {
    backends: Backends,
    settings: Settings,
    site: PublicUrl,
    press: Press,
    sightings: Sightings,
    index: Index,
}

impl Pages {
    /// Of the site at `site`, made of what these services say. Nothing of them is in the larder:
    /// it lends its memory for what is rendered.
    pub fn new(backends: Backends, settings: Settings, site: PublicUrl, larder: &Larder) -> Self {
        Self {
            backends,
            settings,
            site,
            press: Press::new(larder),
            sightings: Sightings::new(larder),
            index: Index::default(),
        }
    }

    /// What was rendered.
    pub fn press(&self) -> &Press {
        &self.press
    }

    /// The page that says that there is none.
    pub fn missing(&self) -> Response {
        Failure::missing().page(&self.site)
    }

    /// What is said where nothing is, to whoever reads pages and to whoever does not.
    pub async fn nothing_at(&self, uri: Uri, request: &HeaderMap) -> Response {
        let wanted = request.get_all(ACCEPT).iter();
        let pages = wanted
            .filter_map(|line| line.to_str().ok())
            .any(|line| line.contains("text/html"));
        if !pages {
            return problem::not_found(uri).await.into_response();
        }
        let mut response = self.missing();
        layout::dress(response.headers_mut());
        response
    }

    /// Sends a page that is made of parts of this mark, and of this version if one of them is
    /// what the page is about. `path` is what it is known by, if others may keep it.
    fn send(
        &self,
        page: &Document,
        path: Option<&str>,
        (whole, version): (Mark, Option<u64>),
        method: &Method,
        request: &HeaderMap,
    ) -> Response {
        let mut headers = ask::told(whole, version);
        layout::vary(&mut headers);
        let path = path.filter(|_| !ask::is_stale(whole));
        headers.insert(CACHE_CONTROL, self.kept(path.is_some()));
        let now = SystemTime::now();
        let modified = path.and_then(|path| self.sightings.see(path, page.etag(), now));
        page.answer(method, request, modified, headers)
    }

    fn kept(&self, kept: bool) -> HeaderValue {
        if !kept {
            return HeaderValue::from_static("no-store");
        }
        let (fresh, stale) = (
            self.settings.page_max_age_seconds,
            self.settings.page_stale_seconds,
        );
        let value = format!("public, max-age={fresh}, stale-while-revalidate={stale}");
        ask::value(value)
    }
}

/// The routes of these pages.
pub fn routes<S: Clone + Send + Sync + 'static>(pages: Arc<Pages>) -> Router<S> {
    let routes = Router::new()
        .route("/", get(home::show))
        .route("/categories/{category}", get(category::show))
        .route("/products/{id}", get(product::show))
        .route("/assets/{name}", get(assets::show))
        .route("/robots.txt", get(sitemap::robots))
        .route("/sitemap.xml", get(sitemap::index))
        .route("/sitemaps/categories.xml", get(sitemap::categories))
        .route("/sitemaps/products.xml", get(sitemap::products))
        .with_state(pages);
    routes.layer(axum::middleware::map_response(dressed))
}

async fn dressed(mut response: Response) -> Response {
    layout::dress(response.headers_mut());
    response
}

/// The value of an argument of a query; empty where there is none.
fn argument(query: Option<&str>, name: &str) -> String {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut pairs = pairs.filter(|(key, _)| key == name);
    pairs
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}
