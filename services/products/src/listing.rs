//! A page of the list of products: what ListProducts asks for, and the key that pages are cached
//! under.

use crate::model::ProductId;
use larder::{Key, Tag};
use larder_api::page::{Query, Sizes};
use larder_proto::products::v1 as wire;
use larder_runtime::status;
use std::fmt::Write as _;
use tonic::Status;

const SIZES: Sizes = Sizes {
    default: 25,
    most: 100,
};

/// Which products come first; those of one price follow in the order of their ids.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Order {
    /// The cheapest.
    Cheapest,
    /// The dearest.
    Dearest,
}

/// A page of a list.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Listing {
    /// Only products of this category.
    pub category: Option<String>,
    /// Which come first.
    pub order: Order,
    /// How many at most.
    pub size: u32,
    /// Price and id of the last product on the page before.
    pub after: Option<(i64, ProductId)>,
}

impl Listing {
    /// The page that a request asks for.
    pub fn new(request: wire::ListProductsRequest) -> Result<Self, Status> {
        let order = match request.order() {
            wire::ProductOrder::PriceDescending => Order::Dearest,
            _ if wire::ProductOrder::try_from(request.order).is_err() => {
                return Err(status::invalid("order", "is no order of products"));
            }
            _ => Order::Cheapest,
        };
        if request.category.contains('\0') {
            // PostgreSQL cannot even be asked for it.
            let problem = "must not contain a NUL character";
            return Err(status::invalid("category", problem));
        }
        let category = Some(request.category).filter(|category| !category.is_empty());
        let size = SIZES.of(request.page_size)?;
        let mut page = Self {
            category,
            order,
            size,
            after: None,
        };
        page.after = page.query().position(&request.page_token, position)?;
        Ok(page)
    }

    /// The token of the page that begins after this product.
    pub fn token_after(&self, price: i64, id: &str) -> String {
        let mut position = price.to_be_bytes().to_vec();
        position.extend(id.as_bytes());
        self.query().token(&position)
    }

    fn query(&self) -> Query {
        // No category is spelled in another way than every category.
        let filtered = if self.category.is_some() { "of" } else { "all" };
        let category = self.category.as_deref().unwrap_or_default();
        Query::new("ListProducts", &[filtered, category, self.order.word()])
    }
}

/// What [`Listing::token_after`] put into a token.
fn position(bytes: &[u8]) -> Option<(i64, ProductId)> {
    let (price, id) = bytes.split_first_chunk()?;
    Some((
        i64::from_be_bytes(*price),
        ProductId::read(std::str::from_utf8(id).ok()?)?,
    ))
}

impl Order {
    fn word(self) -> &'static str {
        match self {
            Self::Cheapest => "cheapest",
            Self::Dearest => "dearest",
        }
    }
}

/// `cheapest/25/1999,kettle/of/kitchen`; the category comes last, as it may hold anything.
impl Key for Listing {
    fn write(&self, text: &mut String) {
        let _ = write!(text, "{}/{}/", self.order.word(), self.size);
        if let Some((price, id)) = &self.after {
            let _ = write!(text, "{price},{}", id.as_str());
        }
        match &self.category {
            Some(category) => {
                let _ = write!(text, "/of/{category}");
            }
            None => text.push_str("/all"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, '/');
        let order = match parts.next()? {
            "cheapest" => Order::Cheapest,
            "dearest" => Order::Dearest,
            _ => return None,
        };
        let size = parts.next()?.parse().ok()?;
        let after = match parts.next()? {
            "" => None,
            after => {
                let (price, id) = after.split_once(',')?;
                Some((price.parse().ok()?, ProductId::read(id)?))
            }
        };
        let category = match parts.next()?.split_once('/') {
            Some(("of", category)) => Some(category.to_owned()),
            _ => None,
        };
        Some(Self {
            category,
            order,
            size,
            after,
        })
    }

    fn tags(&self, tags: &mut Vec<Tag>) {
        tags.push(match &self.category {
            Some(category) => Tag::of("products.category", category),
            None => Tag::of("products.all", "price"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_back_from_its_text() {
        let after = ProductId::read("kettle").map(|id| (-7, id));
        for category in [None, Some(""), Some("all"), Some("a/b of/c")] {
            for (order, after) in [(Order::Cheapest, None), (Order::Dearest, after.clone())] {
                let category = category.map(str::to_owned);
                let page = Listing {
                    category,
                    order,
                    size: 25,
                    after,
                };
                let mut text = String::new();
                page.write(&mut text);
                assert_eq!(Listing::parse(&text), Some(page), "{text}");
            }
        }
        assert_eq!(Listing::parse("cheapest/x//all"), None);
    }
}
