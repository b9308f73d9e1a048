//! This service's copies of the products: what stands beside the number of a product.
//!
//! The keyspace `products` is the products service's own: the same name, keys, tags and bytes in
//! the remote tier, so that whichever of the two loaded a product spares the other doing it. Its
//! rounds and what the remote tier does not have come over gRPC.
//!
//! A ranking is cached without titles, and they are joined to it for each answer: a product that is
//! renamed costs no report. A ranking without titles is worth more to its reader than none: while
//! the products cannot say, the last titles known are shown, and where there is none, none; either
//! is marked stale.

use crate::model::ProductId;
use bytes::Bytes;
use larder::policy::Invalid;
use larder::{Answer, Error, Keyspace, Larder, Origin, Policy, Read, Source, Value};
use larder_host::Entity;
use larder_runtime::client::Client;
use larder_wire::{Mark, Upstream, refusal};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;

/// How long the products may take before a ranking is shown without waiting for them.
const PATIENCE: Duration = Duration::from_secs(1);
/// The age of a title that is not known: no bound, in a number that every client can read.
const NO_BOUND: Duration = Duration::from_millis(i64::MAX as u64);

/// A product, and the title in it, read from it once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Product {
    row: Entity,
    title: String,
}

/// Invariant: the bytes are those of the products service's own `Entity`, title and all, since
/// what is stored here is read there. Test: `a_product_loaded_by_one_service_is_a_hit_in_the_other`.
impl Value for Product {
    fn encode(&self) -> Bytes {
        self.row.encode()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        #[derive(Clone, PartialEq, Message)]
        struct Titled {
            #[prost(string, tag = "2")]
            title: String,
        }
        let row = Entity::decode(bytes)?;
        let title = Titled::decode(row.message.message()).ok()?.title;
        Some(Self { row, title })
    }

    fn weight(&self) -> usize {
        self.row.weight() + size_of::<String>() + self.title.len()
    }
}

/// The handle on the products. Clones are of the same one.
#[derive(Clone)]
pub struct Products(Keyspace<ProductId, Product>);

impl Products {
    /// Opens the source and its keyspace. Must be called on a tokio runtime.
    pub fn open(larder: &Larder, products: Client) -> Result<Self, Invalid> {
        let upstream = Upstream::new("products", products);
        let loader = upstream.loader::<ProductId, Product>("products");
        let source = larder.source("products").feed(Arc::new(upstream)).open();
        let policy = Policy {
            fail_safe: true,
            load_deadline: PATIENCE,
            ..Policy::default()
        };
        let keyspace = source.keyspace("products", loader).policy(policy).open()?;
        Ok(Self(keyspace))
    }

    /// The source of the products.
    pub fn source(&self) -> &Source {
        self.0.source()
    }

    /// The titles of these products in their order, empty for what is no product any more, and
    /// where they came from; as fresh as asked or else marked stale. Fails only when the caller's
    /// own deadline passes.
    pub async fn titles(
        &self,
        products: &[ProductId],
        read: &Read,
    ) -> Result<(Vec<String>, Option<Mark>), Error> {
        match self.0.get_many(products, read).await {
            Ok(answers) => {
                let titles = answers.iter().map(title).collect();
                Ok((titles, answers.iter().map(Mark::of).reduce(Mark::and)))
            }
            Err(error @ Error::CallerDeadline { .. }) => Err(error),
            Err(error) => {
                // For the log: what is no mere absence of the products is an error there.
                let _ = refusal(&error);
                Ok(self.last_known(products))
            }
        }
    }

    /// What memory has of them, however old.
    fn last_known(&self, products: &[ProductId]) -> (Vec<String>, Option<Mark>) {
        let mut age = Duration::ZERO;
        let last = products.iter().map(|product| {
            let answer = self.0.peek(product, &Read::any());
            age = age.max(answer.as_ref().map_or(NO_BOUND, |answer| answer.age));
            answer.as_ref().map(title).unwrap_or_default()
        });
        let titles = last.collect();
        let origin = Origin::Stale;
        (titles, Some(Mark { origin, age }))
    }
}

fn title(answer: &Answer<Product>) -> String {
    let product = answer.value();
    product.map_or_else(String::new, |product| product.title.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_proto::Framed;
    use larder_proto::products::v1 as wire;

    #[test]
    fn a_product_keeps_all_its_bytes_though_only_its_title_is_read() {
        let product = wire::Product {
            id: "kettle".to_owned(),
            title: "The kettle".to_owned(),
            description: "It boils.".to_owned(),
            stock: 7,
            version: 3,
            ..wire::Product::default()
        };
        let stored = Entity::new(3, &product).encode();
        let product = Product::decode(stored.clone()).expect("a product");
        assert_eq!(product.title, "The kettle");
        assert_eq!(product.encode(), stored);
    }

    #[test]
    fn what_is_no_product_or_has_no_title_that_can_be_shown_is_refused() {
        let garbled = Entity {
            version: 1,
            message: Framed::copied(&[0x12, 2, 0xc3, 0x28]),
        };
        assert_eq!(Product::decode(garbled.encode()), None);
        assert_eq!(Product::decode(Bytes::from_static(b"short")), None);
    }
}
