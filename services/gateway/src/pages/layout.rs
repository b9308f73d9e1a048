//! The frame of every page: its head, what stands above and below, and what its answer says of
//! how it may be used.

use super::address::{self, PublicUrl};
use super::{assets, text};
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use larder_wire::names;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The content type of pages.
pub const HTML: &str = "text/html; charset=utf-8";
/// No script runs, whoever wrote it, and nothing is loaded but the style and the icon.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";
/// Search results show no more of a title.
const TITLE_CHARS: usize = 60;
const DESCRIPTION_CHARS: usize = 160;

/// What is said of a page in its head.
pub struct Head<'a> {
    /// What it is called.
    pub title: &'a str,
    /// What is on it.
    pub description: &'a str,
    /// Its kind in the words of Open Graph.
    pub kind: &'static str,
    /// The path that it is best known by; none for what is no page of its own.
    pub canonical: Option<&'a str>,
    /// Its structured data, as [`super::linked`] wrote it.
    pub linked: &'a [String],
}

/// A whole page.
pub fn page(site: &PublicUrl, head: &Head<'_>, main: &Markup) -> String {
    let title = text::line(head.title, TITLE_CHARS);
    let description = text::line(head.description, DESCRIPTION_CHARS);
    let canonical = head.canonical.map(|path| site.of(path));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) " · Larder" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="description" content=(description);
                @match &canonical {
                    Some(canonical) => {
                        link rel="canonical" href=(canonical);
                        meta property="og:url" content=(canonical);
                    }
                    None => { meta name="robots" content="noindex"; }
                }
                meta property="og:type" content=(head.kind);
                meta property="og:title" content=(title);
                meta property="og:description" content=(description);
                meta property="og:site_name" content="Larder";
                link rel="stylesheet" href=(assets::STYLE.path);
                link rel="icon" type="image/svg+xml" href=(assets::ICON.path);
                @for data in head.linked {
                    script type="application/ld+json" { (PreEscaped(data)) }
                }
            }
            body {
                a class="skip" href="#main" { "Skip to the content" }
                header class="site" {
                    a class="brand" href="/" { "Larder" }
                }
                main id="main" { (main) }
                footer class="site" {
                    p { "Served from memory, and never more than a moment behind the books." }
                }
            }
        }
    };
    page.into_string()
}

/// Where a page stands: the categories, its own category, and itself.
pub fn crumbs(category: Option<&str>, here: Option<&str>) -> Markup {
    html! {
        nav aria-label="Breadcrumb" {
            ol class="crumbs" {
                li { a href="/" { "Home" } }
                @if let Some(category) = category.filter(|name| !name.is_empty()) {
                    li {
                        @match address::category(category).filter(|_| here.is_some()) {
                            Some(path) => { a href=(path) { bdi { (text::line(category, 64)) } } }
                            None => { bdi { (text::line(category, 64)) } }
                        }
                    }
                }
                @if let Some(here) = here {
                    li { bdi { (text::line(here, 64)) } }
                }
            }
        }
    }
}

/// A tile in place of a picture that nobody took: a letter on one of twelve colours.
pub fn tile(class: &'static str, title: &str, category: &str) -> Markup {
    let letter = title.chars().find(|letter| letter.is_alphanumeric());
    let letter = letter.map_or_else(
        || "·".to_owned(),
        |letter| letter.to_uppercase().to_string(),
    );
    let colour = category.bytes().fold(7_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    html! {
        span class={ (class) " hue-" (colour % 12) } aria-hidden="true" { (letter) }
    }
}

/// The headers that every answer of these routes has: its page may run and load nothing.
pub fn dress(headers: &mut HeaderMap) {
    const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "strict-origin-when-cross-origin"),
        (PERMISSIONS, "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Says that what a caller wished of freshness chose the answer, so that a cache on the way does
/// not answer the wish with what was made without it.
pub fn vary(headers: &mut HeaderMap) {
    for name in [names::FRESHNESS, names::MAX_STALENESS, names::TOKEN] {
        headers.append(VARY, HeaderValue::from_static(name));
    }
}
