//! The rows that all of it is about: few, so that things meet.
//!
//! Every value says which version it belongs to: `v7`. A profile's is its display name, so that a
//! list of comments shows which version of the profile it reflects; a product's is its title, a
//! comment's its body. A row that is made over gRPC says nothing, since its version is not known
//! before it is made.

use crate::Kind;
use larder_testkit::history::{Collection, Content};

/// A row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Role {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    /// It is made and deleted again and again, so that absences are cached.
    pub(crate) comes_and_goes: bool,
    /// Where it is at first.
    pub(crate) collection: Collection,
}

/// Where every profile is.
pub(crate) const PEOPLE: Collection = Collection(1);
/// Categories of products, and products that comments are about.
pub(crate) const COLLECTIONS: u16 = 3;

const PROFILES: usize = 20;
const PRODUCTS: usize = 18;
const COMMENTS: usize = 18;
const FLEETING: usize = 6;

/// All rows, in the order of their places.
pub(crate) fn roles() -> Vec<Role> {
    let mut roles = Vec::new();
    for (kind, steady, name) in [
        (Kind::Profiles, PROFILES, "person"),
        (Kind::Products, PRODUCTS, "thing"),
        (Kind::Comments, COMMENTS, "word"),
    ] {
        for number in 0..steady + FLEETING {
            let collection = match kind {
                Kind::Profiles => PEOPLE,
                _ => Collection(1 + (number as u16) % COLLECTIONS),
            };
            roles.push(Role {
                kind,
                id: format!("{name}-{number}"),
                comes_and_goes: number >= steady,
                collection,
            });
        }
    }
    roles
}

/// The author of a comment: one of the profiles that stay.
pub(crate) fn author(comment: &str) -> String {
    let number: usize = comment
        .rsplit('-')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_default();
    format!("person-{}", number % PROFILES)
}

/// The name of a collection in the tables.
pub(crate) fn collection_name(collection: Collection) -> String {
    format!("group-{}", collection.0)
}

/// The collection of this name.
pub(crate) fn collection(name: &str) -> Collection {
    let number = name.strip_prefix("group-").and_then(|n| n.parse().ok());
    Collection(number.unwrap_or(u16::MAX))
}

/// What a value says.
pub(crate) fn content(text: &str) -> Content {
    let version = text.strip_prefix('v').and_then(|n| n.parse().ok());
    match version {
        Some(version) => Content::Of(version),
        None if text.starts_with("aborted") => Content::Aborted,
        None => Content::Silent,
    }
}

/// The value of this version.
pub(crate) fn value(version: u64) -> String {
    format!("v{version}")
}

/// The table, its column that says the version, and the one that says the collection.
pub(crate) fn table(kind: Kind) -> (&'static str, &'static str, &'static str) {
    match kind {
        Kind::Profiles => ("profiles", "display_name", "'group-1'"),
        Kind::Products => ("products", "title", "category"),
        Kind::Comments => ("comments", "body", "product_id"),
    }
}
