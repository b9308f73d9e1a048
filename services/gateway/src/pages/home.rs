//! The first page: what categories there are, and some of what is for sale.

use super::address;
use super::ask::{Asked, asked, asking};
use super::category::{PRODUCTS, cards};
use super::failure::Failure;
use super::layout::{self, Head};
use super::press::{Digest, Sheet};
use super::{Pages, text};
use crate::backends::read;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use larder_proto::products::v1::{
    ListCategoriesRequest, ListCategoriesResponse, ListProductsRequest, Product,
};
use maud::{Markup, html};
use prost::Message as _;
use std::sync::Arc;
use tonic::Status;

/// Categories that are shown.
const CATEGORIES: i32 = 200;

/// The first page.
pub async fn show(State(pages): State<Arc<Pages>>, method: Method, request: HeaderMap) -> Response {
    let made = pages.home(&method, &request).await;
    made.unwrap_or_else(|failure| failure.page(&pages.site))
}

impl Pages {
    async fn home(&self, method: &Method, request: &HeaderMap) -> Result<Response, Failure> {
        let list = ListProductsRequest {
            page_size: PRODUCTS,
            ..ListProductsRequest::default()
        };
        let (categories, products) = tokio::join!(
            self.ask_categories(request),
            self.ask_products(list, request)
        );
        let (categories, products) = (categories?, products?);
        let parts = [
            categories.message.encode_to_vec(),
            products.message.encode_to_vec(),
        ];
        let digest = Digest::of(Sheet::HomePage, &[&parts[0], &parts[1]]);
        let page = self.press.page(Sheet::HomePage, digest, || {
            self.home_page(&categories.message.categories, &products.message.products)
        });
        let whole = categories.mark.and(products.mark);
        Ok(self.send(&page, Some("/"), (whole, None), method, request))
    }

    async fn ask_categories(
        &self,
        request: &HeaderMap,
    ) -> Result<Asked<ListCategoriesResponse>, Status> {
        let listed = read(|| {
            let message = ListCategoriesRequest {
                page_size: CATEGORIES,
                ..ListCategoriesRequest::default()
            };
            let asking = asking(message, request);
            let mut client = self.backends.products.clone();
            async move { client.list_categories(asking).await }
        });
        listed.await.map(asked)
    }

    fn home_page(&self, categories: &[String], products: &[Product]) -> String {
        let head = Head {
            title: "Everything in the larder",
            description: "Things that last, by category, with prices and what is in stock.",
            kind: "website",
            canonical: Some("/"),
            linked: &[],
        };
        let main = html! {
            div class="heading" { h1 { "Everything in the larder" } }
            @if categories.is_empty() && products.is_empty() {
                p class="note" { "The shelves are empty." }
            }
            @if !categories.is_empty() {
                section aria-labelledby="categories-title" {
                    h2 id="categories-title" { "Categories" }
                    (shelf(categories))
                }
            }
            @if !products.is_empty() {
                section aria-labelledby="products-title" {
                    h2 id="products-title" { "For the smallest purse" }
                    (cards(products, self.settings.currency.as_str()))
                }
            }
        };
        layout::page(&self.site, &head, &main)
    }
}

fn shelf(categories: &[String]) -> Markup {
    html! {
        ul class="shelf" {
            @for name in categories {
                li {
                    @match address::category(name) {
                        Some(path) => { a href=(path) { bdi { (text::line(name, 64)) } } }
                        None => { bdi { (text::line(name, 64)) } }
                    }
                }
            }
        }
    }
}
