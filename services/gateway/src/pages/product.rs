//! The page of a product: what it is, what it costs, and what people say of it.
//!
//! It is made of two blocks, each rendered when its own part has changed, and is put together
//! when either has.

use super::address::{self, PublicUrl};
use super::ask::{Asked, asked, asking};
use super::failure::Failure;
use super::layout::{self, Head};
use super::press::{Digest, Sheet};
use super::{Pages, linked, text};
use crate::backends::read;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use larder_api::Id;
use larder_proto::comments::v1::{Comment, ListCommentsRequest, ListCommentsResponse};
use larder_proto::products::v1::{GetProductRequest, Product};
use maud::{Markup, PreEscaped, html};
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status};

/// Comments to a page.
const COMMENTS: i32 = 20;
/// How long the comments may take before the page is shown without them.
const PATIENCE: Duration = Duration::from_secs(1);
/// From here on down, a reader is told how many are left.
const FEW: i64 = 5;

/// The page of a product.
pub async fn show(
    State(pages): State<Arc<Pages>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    method: Method,
    request: HeaderMap,
) -> Response {
    let made = pages.product(path.ok().map(|Path(id)| id), query, &method, &request);
    made.await
        .unwrap_or_else(|failure| failure.page(&pages.site))
}

/// Which comments a page shows.
#[derive(Clone, Debug)]
enum Shown {
    /// These.
    Page(ListCommentsResponse),
    /// None, since they cannot be had.
    Away,
}

impl Pages {
    async fn product(
        &self,
        id: Option<String>,
        query: Option<String>,
        method: &Method,
        request: &HeaderMap,
    ) -> Result<Response, Failure> {
        // What is no id names no product.
        let id = id.filter(|id| Id::read(id).is_some());
        let id = id.ok_or_else(Failure::missing)?;
        let token = super::argument(query.as_deref(), "comments");
        let (product, comments) = tokio::join!(
            self.ask_product(&id, request),
            self.ask_comments(&id, &token, request),
        );
        let (product, comments) = (product?, comments?);
        let mut whole = product.mark;
        let shown = match comments {
            Some(comments) => {
                whole = whole.and(comments.mark);
                Shown::Page(comments.message)
            }
            None => Shown::Away,
        };
        let part = product.message.encode_to_vec();
        let block = Digest::of(Sheet::Product, &[&part]);
        let said = self.comments_digest(&id, &token, &shown);
        let digest = Digest::of(Sheet::ProductPage, &[block.as_bytes(), said.as_bytes()]);
        let page = self.press.page(Sheet::ProductPage, digest, || {
            let product = &product.message;
            let block = (self.press).block(Sheet::Product, block, || self.product_block(product));
            let said = self.press.block(Sheet::Comments, said, || {
                comments_block(&self.site, &id, &token, &shown).into_string()
            });
            self.product_page(product, &block, &said)
        });
        let path = match token.is_empty() {
            true => address::product(&id),
            false => address::older_comments(&id, &token),
        };
        let complete = matches!(shown, Shown::Page(_));
        let kept = complete.then_some(&*path);
        Ok(self.send(&page, kept, (whole, product.version), method, request))
    }

    async fn ask_product(&self, id: &str, request: &HeaderMap) -> Result<Asked<Product>, Status> {
        let product = read(|| {
            let message = GetProductRequest { id: id.to_owned() };
            let asking = asking(message, request);
            let mut client = self.backends.products.clone();
            async move { client.get_product(asking).await }
        });
        product.await.map(asked)
    }

    /// A page of comments; none, where they cannot be had now.
    async fn ask_comments(
        &self,
        id: &str,
        token: &str,
        request: &HeaderMap,
    ) -> Result<Option<Asked<ListCommentsResponse>>, Status> {
        let comments = read(|| {
            let message = ListCommentsRequest {
                product_id: id.to_owned(),
                page_size: COMMENTS,
                page_token: token.to_owned(),
            };
            let mut asking = asking(message, request);
            asking.set_timeout(PATIENCE);
            let mut client = self.backends.comments.clone();
            async move { client.list_comments(asking).await }
        });
        match comments.await {
            Ok(comments) => Ok(Some(asked(comments))),
            Err(status) if status.code() == Code::InvalidArgument => Err(status),
            Err(status) => {
                tracing::debug!(product.id = id, error = %status, "a page without its comments");
                Ok(None)
            }
        }
    }

    /// The product's block: its markup, and its structured data behind it.
    fn product_block(&self, product: &Product) -> String {
        let data = linked::product(&self.site, product, self.settings.currency.as_str());
        let block = html! {
            (product_markup(product, self.settings.currency.as_str()))
            script type="application/ld+json" { (PreEscaped(data)) }
        };
        block.into_string()
    }

    fn comments_digest(&self, id: &str, token: &str, shown: &Shown) -> Digest {
        let (part, away) = match shown {
            Shown::Page(page) => (page.encode_to_vec(), 0),
            Shown::Away => (Vec::new(), 1),
        };
        let parts: [&[u8]; 4] = [id.as_bytes(), token.as_bytes(), &[away], &part];
        Digest::of(Sheet::Comments, &parts)
    }

    fn product_page(&self, product: &Product, block: &str, comments: &str) -> String {
        let path = address::product(&product.id);
        let category = address::category(&product.category);
        let mut steps = vec![("Home", "/")];
        if let Some(category) = &category {
            steps.push((&product.category, category));
        }
        steps.push((&product.title, &path));
        let price = text::money(product.price_cents, self.settings.currency.as_str());
        let described = format!("{price} · {}", product.description);
        let head = Head {
            title: &product.title,
            description: &described,
            kind: "product",
            canonical: Some(&path),
            linked: &[linked::crumbs(&self.site, &steps)],
        };
        let main = html! {
            (layout::crumbs(Some(&product.category), Some(&product.title)))
            (PreEscaped(block))
            (PreEscaped(comments))
        };
        layout::page(&self.site, &head, &main)
    }
}

fn product_markup(product: &Product, currency: &str) -> Markup {
    html! {
        article class="product" {
            (layout::tile("tile large", &product.title, &product.category))
            div {
                h1 dir="auto" { (text::inert(&product.title)) }
                p class="price" {
                    data value=(text::decimal(product.price_cents)) {
                        (text::money(product.price_cents, currency))
                    }
                }
                (stock(product.stock))
                @if !product.description.trim().is_empty() {
                    p class="text" dir="auto" { (text::inert(&product.description)) }
                }
            }
        }
    }
}

/// How many can be had.
pub fn stock(stock: i64) -> Markup {
    html! {
        @if stock <= 0 {
            p class="stock none" { "Sold out" }
        } @else if stock <= FEW {
            p class="stock few" { "Only " (stock) " left" }
        } @else {
            p class="stock" { "In stock: " (stock) }
        }
    }
}

fn comments_block(site: &PublicUrl, product: &str, token: &str, shown: &Shown) -> Markup {
    html! {
        section class="comments" id="comments" aria-labelledby="comments-title" {
            h2 id="comments-title" { "Comments" }
            @match shown {
                Shown::Away => {
                    p class="note" { "The comments cannot be shown just now." }
                }
                Shown::Page(page) => {
                    @if page.comments.is_empty() {
                        p class="note" { "Nobody has said anything yet." }
                    } @else {
                        ol class="said" {
                            @for comment in &page.comments { (comment_markup(comment)) }
                        }
                        script type="application/ld+json" {
                            (PreEscaped(linked::comments(site, product, &page.comments)))
                        }
                    }
                    (pager(product, token, &page.next_page_token))
                }
            }
        }
    }
}

fn comment_markup(comment: &Comment) -> Markup {
    let name = text::line(&comment.author_display_name, 200);
    html! {
        li id={ "comment-" (comment.id) } {
            article {
                p class="by" {
                    @if name.is_empty() {
                        span class="name" { "Somebody who is gone" }
                    } @else {
                        bdi class="name" { (name) }
                    }
                    @if let Some(time) = comment.created_at {
                        @let (machine, people) = text::moment(time);
                        " " time datetime=(machine) { (people) }
                    }
                }
                p class="text" dir="auto" { (text::inert(&comment.body)) }
            }
        }
    }
}

fn pager(product: &str, token: &str, next: &str) -> Markup {
    html! {
        @if !token.is_empty() || !next.is_empty() {
            nav class="pager" aria-label="Comments" {
                @if !token.is_empty() {
                    a href={ (address::product(product)) "#comments" } { "Newest comments" }
                }
                @if !next.is_empty() {
                    a rel="next" href=(address::older_comments(product, next)) { "Older comments" }
                }
            }
        }
    }
}
