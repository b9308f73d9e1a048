//! What crawlers ask for first: `robots.txt`, and the map of the site.
//!
//! The map is an index of maps: one of the categories, and one for every ten thousand products,
//! each named by the token that its products are asked for with. No request walks further than
//! its own part, but for the index, which walks through all ids once a minute at most, whoever
//! asks. No date stands in it, as nobody knows when a product last changed.

use super::address::{self, PublicUrl};
use super::failure::Failure;
use super::{Pages, argument};
use crate::backends::read;
use crate::document::Document;
use axum::extract::{RawQuery, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use larder_proto::products::v1::{ListCategoriesRequest, ListProductIdsRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::Status;

/// Products in one map. The protocol allows five times as many, of which the answer would be too
/// large for one call.
const PRODUCTS: i32 = 10_000;
/// Maps in the index, which the protocol allows 50,000 of; enough for ten million products.
const MAPS: usize = 1_000;
/// Addresses in one map, which the protocol bounds.
const ADDRESSES: usize = 50_000;
/// How long an index that was made is answered with.
const INDEX_LIFE: Duration = Duration::from_secs(60);
const XML: &str = "application/xml; charset=utf-8";
const NAMESPACE: &str = "http://www.sitemaps.org/schemas/sitemap/0.9";

/// The index as it was last made. Whoever asks while it is made waits for it.
#[derive(Default)]
pub struct Index(Mutex<Option<(Instant, Arc<Document>)>>);

/// `robots.txt`: pages are for everybody, what programs use is not.
pub async fn robots(
    State(pages): State<Arc<Pages>>,
    method: Method,
    request: HeaderMap,
) -> Response {
    let map = pages.site.of("/sitemap.xml");
    let text = format!("User-agent: *\nDisallow: /v1/\nDisallow: /hooks/\n\nSitemap: {map}\n");
    let document = Document::new("text/plain; charset=utf-8", text);
    document.answer(&method, &request, None, kept_for(3600))
}

/// The index of the maps.
pub async fn index(
    State(pages): State<Arc<Pages>>,
    method: Method,
    request: HeaderMap,
) -> Response {
    match pages.index().await {
        Ok(index) => index.answer(&method, &request, None, kept_for(60)),
        Err(failure) => failure.page(&pages.site),
    }
}

/// The map of the first page and the categories.
pub async fn categories(
    State(pages): State<Arc<Pages>>,
    method: Method,
    request: HeaderMap,
) -> Response {
    match pages.category_paths().await {
        Ok(paths) => map(&pages.site, &paths).answer(&method, &request, None, kept_for(60)),
        Err(failure) => failure.page(&pages.site),
    }
}

/// The map of some products.
pub async fn products(
    State(pages): State<Arc<Pages>>,
    RawQuery(query): RawQuery,
    method: Method,
    request: HeaderMap,
) -> Response {
    match pages
        .product_paths(argument(query.as_deref(), "after"))
        .await
    {
        Ok(paths) => map(&pages.site, &paths).answer(&method, &request, None, kept_for(60)),
        Err(failure) => failure.page(&pages.site),
    }
}

impl Pages {
    async fn index(&self) -> Result<Arc<Document>, Failure> {
        let mut last = self.index.0.lock().await;
        if let Some((made, index)) = &*last
            && made.elapsed() < INDEX_LIFE
        {
            return Ok(index.clone());
        }
        let mut paths = vec!["/sitemaps/categories.xml".to_owned()];
        let mut next = String::new();
        while paths.len() < MAPS {
            paths.push(match next.as_str() {
                "" => "/sitemaps/products.xml".to_owned(),
                token => format!("/sitemaps/products.xml?after={}", address::encoded(token)),
            });
            next = self.ids(next).await?.1;
            if next.is_empty() {
                break;
            }
        }
        if !next.is_empty() {
            tracing::warn!(
                maps = MAPS,
                "the map of the site does not show every product"
            );
        }
        let index = Arc::new(list(&self.site, "sitemapindex", "sitemap", &paths));
        *last = Some((Instant::now(), index.clone()));
        Ok(index)
    }

    async fn category_paths(&self) -> Result<Vec<String>, Failure> {
        let (mut paths, mut next) = (vec!["/".to_owned()], String::new());
        loop {
            let page = read(|| {
                let request = ListCategoriesRequest {
                    page_size: 1_000,
                    page_token: next.clone(),
                };
                let mut client = self.backends.products.clone();
                async move { client.list_categories(request).await }
            });
            let page = page.await?.into_inner();
            let known = page.categories.iter();
            paths.extend(known.filter_map(|name| address::category(name)));
            next = page.next_page_token;
            if next.is_empty() || paths.len() >= ADDRESSES {
                paths.truncate(ADDRESSES);
                return Ok(paths);
            }
        }
    }

    async fn product_paths(&self, token: String) -> Result<Vec<String>, Failure> {
        let (ids, _) = self.ids(token).await?;
        Ok(ids.iter().map(|id| address::product(id)).collect())
    }

    /// The ids of some products, and the token of those behind them.
    async fn ids(&self, token: String) -> Result<(Vec<String>, String), Status> {
        let page = read(|| {
            let request = ListProductIdsRequest {
                page_size: PRODUCTS,
                page_token: token.clone(),
            };
            let mut client = self.backends.products.clone();
            async move { client.list_product_ids(request).await }
        });
        let page = page.await?.into_inner();
        Ok((page.ids, page.next_page_token))
    }
}

fn map(site: &PublicUrl, paths: &[String]) -> Document {
    list(site, "urlset", "url", paths)
}

fn list(site: &PublicUrl, root: &str, item: &str, paths: &[String]) -> Document {
    let mut xml =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"{NAMESPACE}\">\n");
    for path in paths {
        // Paths are encoded, and have no character that XML gives a meaning to; nor has the site.
        let url = site.of(path).replace('&', "&amp;");
        xml.push_str(&format!("<{item}><loc>{url}</loc></{item}>\n"));
    }
    xml.push_str(&format!("</{root}>\n"));
    Document::new(XML, xml)
}

fn kept_for(seconds: u32) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = format!("public, max-age={seconds}");
    headers.insert(CACHE_CONTROL, super::ask::value(value));
    let text = HeaderValue::from_static("nosniff");
    headers.insert(axum::http::header::X_CONTENT_TYPE_OPTIONS, text);
    headers
}
