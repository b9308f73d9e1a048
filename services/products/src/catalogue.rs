//! What there is, by name alone: a page of the categories, and a page of the ids of all products.
//! Each is a walk through an ordered set of names, and goes on after the last name seen.

use larder::{Key, Tag};
use larder_api::page::{Query, Sizes};
use larder_proto::products::v1 as wire;
use std::fmt::Write as _;
use tonic::Status;

const CATEGORIES: Sizes = Sizes {
    default: 100,
    most: 1000,
};
const IDS: Sizes = Sizes {
    default: 1000,
    most: 10_000,
};

/// A page of names: so many at most, of those behind one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Names {
    /// How many at most.
    pub size: u32,
    /// The last name on the page before. Every name is behind the empty one, which is none.
    pub after: String,
}

impl Names {
    /// The page of categories that a request asks for.
    pub fn categories(request: &wire::ListCategoriesRequest) -> Result<Self, Status> {
        let size = CATEGORIES.of(request.page_size)?;
        Self::new(categories(), size, &request.page_token)
    }

    /// The page of ids that a request asks for.
    pub fn ids(request: &wire::ListProductIdsRequest) -> Result<Self, Status> {
        Self::new(ids(), IDS.of(request.page_size)?, &request.page_token)
    }

    fn new(query: Query, size: u32, token: &str) -> Result<Self, Status> {
        // A database cannot even be asked for a NUL.
        let name = |bytes: &[u8]| {
            let name = std::str::from_utf8(bytes).ok()?;
            (!name.contains('\0')).then(|| name.to_owned())
        };
        let after = query.position(token, name)?.unwrap_or_default();
        Ok(Self { size, after })
    }
}

/// The list of the categories.
pub fn categories() -> Query {
    Query::new("ListCategories", &[])
}

/// The list of the ids.
pub fn ids() -> Query {
    Query::new("ListProductIds", &[])
}

/// `100/tea`; the name comes last, as it may hold anything.
impl Key for Names {
    fn write(&self, text: &mut String) {
        let _ = write!(text, "{}/{}", self.size, self.after);
    }

    fn parse(text: &str) -> Option<Self> {
        let (size, after) = text.split_once('/')?;
        Some(Self {
            size: size.parse().ok()?,
            after: after.to_owned(),
        })
    }

    /// Any change of a product may be that of the first or the last of its name.
    fn tags(&self, tags: &mut Vec<Tag>) {
        tags.push(Tag::of("products.all", "price"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_names_reads_back_from_its_text() {
        for after in ["", "tea", "a/b", "7/"] {
            let page = Names {
                size: 100,
                after: after.to_owned(),
            };
            let mut text = String::new();
            page.write(&mut text);
            assert_eq!(Names::parse(&text), Some(page), "{text}");
        }
        assert_eq!(Names::parse("x/tea"), None);
    }

    #[test]
    fn a_token_of_ids_is_none_of_categories() {
        let request = wire::ListCategoriesRequest {
            page_token: ids().token(b"kettle"),
            ..Default::default()
        };
        assert!(Names::categories(&request).is_err());
        let request = wire::ListProductIdsRequest {
            page_token: ids().token(b"kettle"),
            page_size: 1_000_000,
        };
        let page = Names::ids(&request).expect("its own");
        assert_eq!((page.size, page.after.as_str()), (10_000, "kettle"));
    }
}
