//! Reads and writes that the tests have in common, and the promise they are held to.

use crate::{Said, asking, said};
use anyhow::{Context as _, Result, bail};
use larder_proto::comments::v1::comment_service_client::CommentServiceClient;
use larder_proto::comments::v1::{Comment, CreateCommentRequest, ListCommentsRequest};
use larder_proto::products::v1::product_service_client::ProductServiceClient;
use larder_proto::products::v1::{
    CreateProductRequest, GetProductRequest, Product, UpdateProductRequest,
};
use larder_proto::profiles::v1::profile_service_client::ProfileServiceClient;
use larder_proto::profiles::v1::{
    CreateProfileRequest, GetProfileRequest, Profile, UpdateProfileRequest,
};
use larder_wire::names;
use prost_types::FieldMask;
use std::time::{Duration, Instant};
use tonic::Status;
use tonic::transport::Channel;

/// Δ of every keyspace of the suite.
pub const MAX_STALENESS: Duration = Duration::from_secs(1);
/// The deadline of what should take no time at all.
pub const SOON: Duration = Duration::from_secs(20);

/// Asks until the answer is yes, and returns how long after `since` it came. An error if a
/// question that was put more than Δ after `since` is answered no: then a promise is broken.
pub async fn shown_within_bound(
    what: &str,
    since: Instant,
    mut ask: impl AsyncFnMut() -> Result<bool>,
) -> Result<Duration> {
    loop {
        let put = since.elapsed();
        let answer = tokio::time::timeout(SOON, ask()).await;
        if answer.with_context(|| format!("{what}: no answer"))?? {
            return Ok(since.elapsed());
        }
        if put > MAX_STALENESS {
            bail!("{what}: not shown to a read that began {put:?} after it was known");
        }
    }
}

/// The tokens of these writes, as metadata of a read.
pub fn showing(token: &Option<String>) -> Vec<(&'static str, &str)> {
    token
        .iter()
        .map(|token| (names::TOKEN, token.as_str()))
        .collect()
}

/// Makes a product of this price.
pub async fn create_product(
    client: &ProductServiceClient<Channel>,
    id: &str,
    price_cents: i64,
) -> Result<Said, Status> {
    let product = Product {
        id: id.to_owned(),
        title: format!("Product {id}"),
        category: "tests".to_owned(),
        price_cents,
        ..Product::default()
    };
    let request = CreateProductRequest {
        product: Some(product),
    };
    said(client.clone().create_product(asking(request, &[])).await).map(|(_, said)| said)
}

/// Sets the price of a product.
pub async fn set_price(
    client: &ProductServiceClient<Channel>,
    id: &str,
    price_cents: i64,
) -> Result<Said, Status> {
    let product = Product {
        id: id.to_owned(),
        price_cents,
        ..Product::default()
    };
    let update_mask = Some(FieldMask {
        paths: vec!["price_cents".to_owned()],
    });
    let request = UpdateProductRequest {
        product: Some(product),
        update_mask,
        expected_version: None,
    };
    said(client.clone().update_product(asking(request, &[])).await).map(|(_, said)| said)
}

/// The price of a product, with this metadata sent along.
pub async fn price(
    client: &ProductServiceClient<Channel>,
    id: &str,
    metadata: &[(&'static str, &str)],
) -> Result<(i64, Said), Status> {
    let request = asking(GetProductRequest { id: id.to_owned() }, metadata);
    let (product, said) = said(client.clone().get_product(request).await)?;
    Ok((product.price_cents, said))
}

/// Makes a profile of this name.
pub async fn create_profile(
    client: &ProfileServiceClient<Channel>,
    id: &str,
    name: &str,
) -> Result<Said, Status> {
    let (id, display_name) = (id.to_owned(), name.to_owned());
    let profile = Profile {
        id,
        display_name,
        ..Profile::default()
    };
    let request = CreateProfileRequest {
        profile: Some(profile),
    };
    said(client.clone().create_profile(asking(request, &[])).await).map(|(_, said)| said)
}

/// Renames a profile.
pub async fn rename(
    client: &ProfileServiceClient<Channel>,
    id: &str,
    name: &str,
) -> Result<Said, Status> {
    let (id, display_name) = (id.to_owned(), name.to_owned());
    let profile = Profile {
        id,
        display_name,
        ..Profile::default()
    };
    let update_mask = Some(FieldMask {
        paths: vec!["display_name".to_owned()],
    });
    let request = UpdateProfileRequest {
        profile: Some(profile),
        update_mask,
        expected_version: None,
    };
    said(client.clone().update_profile(asking(request, &[])).await).map(|(_, said)| said)
}

/// The name of a profile, with this metadata sent along.
pub async fn name(
    client: &ProfileServiceClient<Channel>,
    id: &str,
    metadata: &[(&'static str, &str)],
) -> Result<(String, Said), Status> {
    let request = asking(GetProfileRequest { id: id.to_owned() }, metadata);
    let (profile, said) = said(client.clone().get_profile(request).await)?;
    Ok((profile.display_name, said))
}

/// Makes a comment on a product.
pub async fn create_comment(
    client: &CommentServiceClient<Channel>,
    (product, author): (&str, &str),
    body: &str,
) -> Result<Said, Status> {
    let comment = Comment {
        product_id: product.to_owned(),
        author_id: author.to_owned(),
        body: body.to_owned(),
        ..Comment::default()
    };
    let request = CreateCommentRequest {
        comment: Some(comment),
    };
    said(client.clone().create_comment(asking(request, &[])).await).map(|(_, said)| said)
}

/// The comments on a product, each as the author's name and what was said, newest first.
pub async fn comments(
    client: &CommentServiceClient<Channel>,
    product: &str,
    metadata: &[(&'static str, &str)],
) -> Result<(Vec<(String, String)>, Said), Status> {
    let request = ListCommentsRequest {
        product_id: product.to_owned(),
        ..Default::default()
    };
    let (page, said) = said(
        client
            .clone()
            .list_comments(asking(request, metadata))
            .await,
    )?;
    let comments = page.comments.into_iter();
    Ok((
        comments
            .map(|comment| (comment.author_display_name, comment.body))
            .collect(),
        said,
    ))
}
