//! What a product is: its checked types, and their way from and to the contract.

use larder::Key;
use larder_api::mask::{Chosen, Fields};
use larder_api::{Checks, Id};
use larder_proto::products::v1 as wire;
use larder_runtime::status;
use prost_types::FieldMask;
use std::collections::HashSet;
use tonic::Status;

/// The fields that an update may write.
pub const FIELDS: Fields = Fields(&["title", "description", "category", "price_cents", "stock"]);

const TITLE_CHARS: usize = 200;
const DESCRIPTION_CHARS: usize = 10_000;
const CATEGORY_CHARS: usize = 64;

/// Which product.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProductId(Id);

impl ProductId {
    /// The id in a request's `field`.
    pub fn parse(field: &str, text: String) -> Result<Self, Status> {
        Id::parse(field, text).map(Self)
    }

    /// The id that this text is, if it is one.
    pub fn read(text: &str) -> Option<Self> {
        Id::read(text).map(Self)
    }

    /// The ids in a request's field `ids`, at most so many, each once, in the order asked.
    pub fn distinct(ids: Vec<String>, most: usize) -> Result<Vec<Self>, Status> {
        if ids.len() > most {
            return Err(status::invalid("ids", format!("more than {most} ids")));
        }
        let mut seen = HashSet::with_capacity(ids.len());
        let mut distinct = Vec::with_capacity(ids.len());
        for (index, id) in ids.into_iter().enumerate() {
            let id = Self::parse(&format!("ids[{index}]"), id)?;
            if seen.insert(id.clone()) {
                distinct.push(id);
            }
        }
        Ok(distinct)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Key for ProductId {
    fn write(&self, text: &mut String) {
        text.push_str(self.as_str());
    }

    fn parse(text: &str) -> Option<Self> {
        Self::read(text)
    }
}

/// A product to be created, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    /// What it will be named.
    pub id: ProductId,
    /// What it will be like.
    pub content: Content,
}

/// What is said of a product.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Content {
    /// What it is called.
    pub title: String,
    /// What it is like.
    pub description: String,
    /// Where it is listed.
    pub category: String,
    /// What one costs.
    pub price_cents: i64,
    /// How many can be sold.
    pub stock: i64,
}

/// A change of a product, checked: what is `None` stays as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which product.
    pub id: ProductId,
    /// What it is called.
    pub title: Option<String>,
    /// What it is like.
    pub description: Option<String>,
    /// Where it is listed.
    pub category: Option<String>,
    /// What one costs.
    pub price_cents: Option<i64>,
    /// How many can be sold.
    pub stock: Option<i64>,
    /// Only if the product is of this version.
    pub expected_version: Option<u64>,
}

impl Draft {
    /// The product that a request wants created.
    pub fn new(request: wire::CreateProductRequest) -> Result<Self, Status> {
        let product = request.product.unwrap_or_default();
        let id = ProductId(Id::parse_or_new("product.id", product.id.clone())?);
        check(&product, |_| true)?;
        let wire::Product {
            title,
            description,
            category,
            price_cents,
            stock,
            ..
        } = product;
        Ok(Self {
            id,
            content: Content {
                title,
                description,
                category,
                price_cents,
                stock,
            },
        })
    }
}

impl Change {
    /// The change that a request wants.
    pub fn new(request: wire::UpdateProductRequest) -> Result<Self, Status> {
        let wire::UpdateProductRequest {
            product,
            update_mask,
            expected_version,
        } = request;
        let product = product.unwrap_or_default();
        let id = ProductId::parse("product.id", product.id.clone())?;
        let chosen = chosen(&product, update_mask.as_ref())?;
        check(&product, |field| chosen.has(field))?;
        Ok(Self {
            id,
            title: chosen.pick("title", product.title),
            description: chosen.pick("description", product.description),
            category: chosen.pick("category", product.category),
            price_cents: chosen.pick("price_cents", product.price_cents),
            stock: chosen.pick("stock", product.stock),
            expected_version,
        })
    }
}

fn chosen(product: &wire::Product, mask: Option<&FieldMask>) -> Result<Chosen, Status> {
    FIELDS.chosen(mask, |field| match field {
        "title" => !product.title.is_empty(),
        "description" => !product.description.is_empty(),
        "category" => !product.category.is_empty(),
        "price_cents" => product.price_cents != 0,
        _ => product.stock != 0,
    })
}

/// Whether the fields that are to be written can be.
fn check(product: &wire::Product, written: impl Fn(&str) -> bool) -> Result<(), Status> {
    let mut checks = Checks::of("product");
    if written("title") {
        checks = checks.filled("title", &product.title, TITLE_CHARS);
    }
    if written("description") {
        checks = checks.text("description", &product.description, DESCRIPTION_CHARS);
    }
    if written("category") {
        checks = checks.text("category", &product.category, CATEGORY_CHARS);
    }
    if written("price_cents") {
        checks = checks.not_negative("price_cents", product.price_cents);
    }
    if written("stock") {
        checks = checks.not_negative("stock", product.stock);
    }
    checks.done()
}
