//! Where pages are: the paths of this site's pages, and its own address.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use url::Url;

/// Everything but what a URL never needs encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The address that the public knows this site by: scheme and host, and a port where it needs one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Of a site that nothing stands in front of.
    pub fn at(http: SocketAddr) -> Self {
        Self(format!("http://{http}"))
    }

    /// The whole address of one of its paths.
    pub fn of(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "must be a URL such as https://shop.example")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must begin with http:// or https://");
        }
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        if !bare || !anonymous {
            return Err("must be a scheme and a host alone");
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The path of a product's page.
pub fn product(id: &str) -> String {
    format!("/products/{}", encoded(id))
}

/// The path of a product's page with the comments that a token stands for.
pub fn older_comments(id: &str, token: &str) -> String {
    format!("{}?comments={}#comments", product(id), encoded(token))
}

/// The path of a category's first page. There is none for what every browser takes for a step
/// through folders, however it is spelled, nor for the category that products without one are in.
pub fn category(name: &str) -> Option<String> {
    let stepping = matches!(name, "" | "." | "..");
    (!stepping).then(|| format!("/categories/{}", encoded(name)))
}

/// A text as a segment of a path, or as a value in a query.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_of_any_name_has_a_path_that_leads_back_to_it() {
        for name in [
            "tea",
            "a/b",
            "a?b#c",
            "100% \"tea\"",
            "été",
            "<b>",
            "a b",
            "...",
            "%2e",
        ] {
            let path = category(name).expect("a path");
            let url = Url::parse(&format!("http://shop.example{path}")).expect("a URL");
            let segments: Vec<_> = url.path_segments().expect("segments").collect();
            assert_eq!(segments.len(), 2, "{path}");
            let read = percent_encoding::percent_decode_str(segments[1]);
            assert_eq!(read.decode_utf8().expect("UTF-8"), name);
            assert_eq!(url.query().or(url.fragment()), None, "{path}");
        }
        for name in ["", ".", ".."] {
            assert_eq!(category(name), None);
        }
    }

    #[test]
    fn a_public_address_is_a_scheme_and_a_host_and_nothing_else() {
        for (text, path) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/x"),
            ("https://Shop.Example/", "https://shop.example/x"),
            ("https://shop.example:443", "https://shop.example/x"),
        ] {
            assert_eq!(text.parse::<PublicUrl>().expect("a URL").of("/x"), path);
        }
        for text in [
            "",
            "shop.example",
            "ftp://shop.example",
            "https://shop.example/path",
            "https://shop.example/?q",
            "https://shop.example/#x",
            "https://user:secret@shop.example",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }
}
