//! The pages of a category: its products, cheapest or dearest first.

use super::address;
use super::ask::{Asked, asked, asking};
use super::failure::Failure;
use super::layout::{self, Head};
use super::press::{Digest, Sheet};
use super::{Pages, argument, linked, product, text};
use crate::backends::read;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use larder_proto::products::v1::{
    ListProductsRequest, ListProductsResponse, Product, ProductOrder,
};
use maud::{Markup, html};
use prost::Message as _;
use std::sync::Arc;
use tonic::Status;

/// Products to a page.
pub const PRODUCTS: i32 = 24;

/// A page of a category.
pub async fn show(
    State(pages): State<Arc<Pages>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    method: Method,
    request: HeaderMap,
) -> Response {
    let made = pages.category(path.ok().map(|Path(name)| name), query, &method, &request);
    made.await
        .unwrap_or_else(|failure| failure.page(&pages.site))
}

/// Which page of a category.
struct Asking {
    category: String,
    dearest: bool,
    token: String,
}

impl Asking {
    fn new(category: Option<String>, query: Option<&str>) -> Result<Self, Failure> {
        let dearest = match argument(query, "order").as_str() {
            "" | "cheapest" => false,
            "dearest" => true,
            _ => return Err(Failure::malformed("order: must be cheapest or dearest")),
        };
        Ok(Self {
            // What is no UTF-8 is no name.
            category: category.ok_or_else(Failure::missing)?,
            dearest,
            token: argument(query, "page"),
        })
    }

    fn order(&self) -> ProductOrder {
        match self.dearest {
            true => ProductOrder::PriceDescending,
            false => ProductOrder::PriceAscending,
        }
    }

    /// The path of a page of this category.
    fn path(&self, dearest: bool, token: &str) -> Option<String> {
        let mut path = address::category(&self.category)?;
        let order = dearest.then(|| "order=dearest".to_owned());
        let page = (!token.is_empty()).then(|| format!("page={}", address::encoded(token)));
        let query: Vec<String> = order.into_iter().chain(page).collect();
        if !query.is_empty() {
            path.push('?');
            path.push_str(&query.join("&"));
        }
        Some(path)
    }

    /// The path that this page is best known by: its first pages, in whichever order, are one.
    fn canonical(&self) -> Option<String> {
        self.path(self.dearest && !self.token.is_empty(), &self.token)
    }
}

impl Pages {
    async fn category(
        &self,
        category: Option<String>,
        query: Option<String>,
        method: &Method,
        request: &HeaderMap,
    ) -> Result<Response, Failure> {
        let asking = Asking::new(category, query.as_deref())?;
        let path = asking.path(asking.dearest, &asking.token);
        let path = path.ok_or_else(Failure::missing)?;
        let list = ListProductsRequest {
            page_size: PRODUCTS,
            page_token: asking.token.clone(),
            category: asking.category.clone(),
            order: asking.order().into(),
        };
        let listed = self.ask_products(list, request).await?;
        // A category is there while it has products.
        if listed.message.products.is_empty() && asking.token.is_empty() {
            return Err(Failure::missing());
        }
        let part = listed.message.encode_to_vec();
        let digest = Digest::of(Sheet::CategoryPage, &[path.as_bytes(), &part]);
        let page = self.press.page(Sheet::CategoryPage, digest, || {
            self.category_page(&asking, &listed.message)
        });
        Ok(self.send(&page, Some(&path), (listed.mark, None), method, request))
    }

    /// A page of products.
    pub(super) async fn ask_products(
        &self,
        list: ListProductsRequest,
        request: &HeaderMap,
    ) -> Result<Asked<ListProductsResponse>, Status> {
        let listed = read(|| {
            let asking = asking(list.clone(), request);
            let mut client = self.backends.products.clone();
            async move { client.list_products(asking).await }
        });
        listed.await.map(asked)
    }

    fn category_page(&self, asking: &Asking, listed: &ListProductsResponse) -> String {
        let name = &asking.category;
        let described = format!("Everything in {name}, with prices and what is in stock.");
        let canonical = asking.canonical();
        let first = asking.path(false, "").unwrap_or_default();
        let head = Head {
            title: name,
            description: &described,
            kind: "website",
            canonical: canonical.as_deref(),
            linked: &[linked::crumbs(&self.site, &[("Home", "/"), (name, &first)])],
        };
        let main = html! {
            (layout::crumbs(Some(name), None))
            div class="heading" {
                h1 dir="auto" { (text::inert(name)) }
                (orders(asking))
            }
            @if listed.products.is_empty() {
                p class="note" { "There is nothing more." }
            } @else {
                h2 class="unseen" { "Products" }
                (cards(&listed.products, self.settings.currency.as_str()))
            }
            (pager(asking, &listed.next_page_token))
        };
        layout::page(&self.site, &head, &main)
    }
}

/// Products, each as a card that leads to its page, under a heading of the second level.
pub fn cards(products: &[Product], currency: &str) -> Markup {
    html! {
        ul class="cards" {
            @for item in products {
                li {
                    (layout::tile("tile", &item.title, &item.category))
                    div {
                        h3 dir="auto" {
                            a href=(address::product(&item.id)) { (text::inert(&item.title)) }
                        }
                        p class="price" { (text::money(item.price_cents, currency)) }
                        (product::stock(item.stock))
                    }
                }
            }
        }
    }
}

fn orders(asking: &Asking) -> Markup {
    let choice = |dearest: bool, name: &str| {
        let path = asking.path(dearest, "").unwrap_or_default();
        html! {
            @if dearest == asking.dearest {
                a href=(path) aria-current="true" { (name) }
            } @else {
                a href=(path) rel="nofollow" { (name) }
            }
        }
    };
    html! {
        nav class="orders" aria-label="Order" {
            (choice(false, "Cheapest first"))
            (choice(true, "Dearest first"))
        }
    }
}

fn pager(asking: &Asking, next: &str) -> Markup {
    html! {
        @if !asking.token.is_empty() || !next.is_empty() {
            nav class="pager" aria-label="Pages" {
                @if !asking.token.is_empty() {
                    a href=[asking.path(asking.dearest, "")] { "First page" }
                }
                @if !next.is_empty() {
                    a rel="next" href=[asking.path(asking.dearest, next)] { "Next page" }
                }
            }
        }
    }
}
