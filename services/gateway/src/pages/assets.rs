//! What pages load: the style and the icon. Each has its hash in its name, so that a copy of it is
//! good for ever.

use super::Pages;
use crate::document::Document;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use std::sync::{Arc, LazyLock};

/// Something that pages load.
pub struct Asset {
    /// Where it is.
    pub path: String,
    document: Document,
}

impl Asset {
    fn new(stem: &str, ending: &str, content_type: &'static str, bytes: &'static str) -> Self {
        let hash = blake3::hash(bytes.as_bytes()).to_hex();
        Self {
            path: format!("/assets/{stem}-{}.{ending}", &hash[..16]),
            document: Document::new(content_type, bytes),
        }
    }
}

/// How pages look.
pub static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let style = include_str!("site.css");
    Asset::new("site", "css", "text/css; charset=utf-8", style)
});

/// The icon of the site.
pub static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

/// Answers with one of them.
pub async fn show(
    State(pages): State<Arc<Pages>>,
    path: Result<Path<String>, PathRejection>,
    method: Method,
    request: HeaderMap,
) -> Response {
    let known = [&*STYLE, &*ICON];
    let name = path.map_or_else(|_| String::new(), |Path(name)| name);
    let asked = |asset: &&&Asset| asset.path.strip_prefix("/assets/") == Some(&name);
    let Some(asset) = known.iter().find(asked) else {
        return pages.missing();
    };
    let mut headers = HeaderMap::new();
    let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(CACHE_CONTROL, for_ever);
    asset.document.answer(&method, &request, None, headers)
}
