//! A gateway on real services, in this process and on one hub, and what a browser sees of it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use crate::support::{Answer, Gate, SOON, ask, parts};
use anyhow::{Context as _, Result};
use larder::remote::hub::Hub;
use larder_comments::Comments;
use larder_gateway::Parts;
use larder_gateway::backends::Addresses;
use larder_host::trial::{Home, Replica, said};
use larder_products::Products;
use larder_profiles::Profiles;
use larder_proto::comments::v1::comment_service_client::CommentServiceClient;
use larder_proto::comments::v1::*;
use larder_proto::products::v1::product_service_client::ProductServiceClient;
use larder_proto::products::v1::*;
use larder_proto::profiles::v1::profile_service_client::ProfileServiceClient;
use larder_proto::profiles::v1::{CreateProfileRequest, Profile, UpdateProfileRequest};
use larder_runtime::client::{self, Client};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One replica of each service, and the gateway in front of them.
pub struct Shop {
    pub gate: Gate,
    pub home: Home,
    pub people: Option<Replica>,
    pub things: Option<Replica>,
    pub talk: Option<Replica>,
    profiles: ProfileServiceClient<Client>,
    products: ProductServiceClient<Client>,
    comments: CommentServiceClient<Client>,
}

impl Shop {
    pub async fn open(home: Home) -> Result<Self> {
        Self::with(home, |_| {}).await
    }

    /// With a gateway of these parts.
    pub async fn with(home: Home, change: impl FnOnce(&mut Parts)) -> Result<Self> {
        let hub = Hub::new();
        let people = Replica::ready(Profiles, home.parts(&hub)).await?;
        let url = |replica: &Replica| format!("http://{}", replica.grpc);
        let admin = |replica: &Replica| format!("http://{}", replica.admin);
        let profiles = Client::new("profiles", &url(&people), client::Limits::default())?;
        let things = Replica::ready(Products, home.parts(&hub)).await?;
        let talk = Replica::ready(Comments::new(profiles), home.parts(&hub)).await?;
        let mut made = parts(&Addresses {
            profiles: url(&people),
            products: url(&things),
            comments: url(&talk),
            reports: "http://127.0.0.1:1".to_owned(),
            profiles_admin: admin(&people),
            products_admin: admin(&things),
            comments_admin: admin(&talk),
            reports_admin: "http://127.0.0.1:1".to_owned(),
        });
        made.pages.public_url = Some("https://shop.example".parse().expect("a URL"));
        change(&mut made);
        let gate = Gate::start(made).await?;
        Ok(Self {
            profiles: ProfileServiceClient::new(people.client()),
            products: ProductServiceClient::new(things.client()),
            comments: CommentServiceClient::new(talk.client()),
            people: Some(people),
            things: Some(things),
            talk: Some(talk),
            gate,
            home,
        })
    }

    /// Puts something on sale, and returns the token.
    pub async fn stock(&self, product: Product) -> Result<String> {
        let product = Some(product);
        let request = CreateProductRequest { product };
        let made = self.products.clone().create_product(request).await?;
        Ok(said(made.metadata(), "larder-token").to_owned())
    }

    /// Changes what something costs, and returns the token.
    pub async fn reprice(&self, id: &str, price_cents: i64) -> Result<String> {
        let product = Some(Product {
            id: id.to_owned(),
            price_cents,
            ..Product::default()
        });
        let request = UpdateProductRequest {
            product,
            ..UpdateProductRequest::default()
        };
        let changed = self.products.clone().update_product(request).await?;
        Ok(said(changed.metadata(), "larder-token").to_owned())
    }

    pub async fn remove(&self, id: &str) -> Result<String> {
        let id = id.to_owned();
        let request = DeleteProductRequest {
            id,
            ..DeleteProductRequest::default()
        };
        let gone = self.products.clone().delete_product(request).await?;
        Ok(said(gone.metadata(), "larder-token").to_owned())
    }

    /// Says something about a product, and returns the token.
    pub async fn say(&self, id: &str, product: &str, author: &str, body: &str) -> Result<String> {
        let comment = Some(Comment {
            id: id.to_owned(),
            product_id: product.to_owned(),
            author_id: author.to_owned(),
            body: body.to_owned(),
            ..Comment::default()
        });
        let request = CreateCommentRequest { comment };
        let made = self.comments.clone().create_comment(request).await?;
        Ok(said(made.metadata(), "larder-token").to_owned())
    }

    pub async fn name(&self, id: &str, name: &str) -> Result<String> {
        let profile = || {
            Some(Profile {
                id: id.to_owned(),
                display_name: name.to_owned(),
                ..Profile::default()
            })
        };
        let mut client = self.profiles.clone();
        let request = UpdateProfileRequest {
            profile: profile(),
            ..UpdateProfileRequest::default()
        };
        let made = match client.update_profile(request).await {
            Ok(changed) => changed,
            Err(_) => {
                let profile = profile();
                client
                    .create_profile(CreateProfileRequest { profile })
                    .await?
            }
        };
        Ok(said(made.metadata(), "larder-token").to_owned())
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.gate.get(path, headers).await
    }

    pub async fn head(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        ask(self.gate.http, "HEAD", path, headers, "").await
    }

    /// How often each of these was rendered.
    pub async fn printed<const N: usize>(&self, sheets: [&str; N]) -> Result<[u64; N]> {
        let metrics = self.gate.metrics().await?;
        let count = |sheet: &str| {
            let line = format!("larder_sheets_total{{sheet=\"{sheet}\",outcome=\"printed\"}} ");
            let line = metrics.lines().find_map(|text| text.strip_prefix(&line));
            line.and_then(|count| count.parse().ok())
                .unwrap_or(u64::MAX)
        };
        Ok(sheets.map(count))
    }
}

/// The body of an answer as the bytes that it is, and its head.
pub async fn bytes(http: SocketAddr, path: &str, accepted: &str) -> Result<(String, Vec<u8>)> {
    let mut stream = TcpStream::connect(http).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: larder\r\nconnection: close\r\naccept-encoding: {accepted}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await??;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.context("no HTTP")?;
    let head = std::str::from_utf8(&answer[..end])?.to_ascii_lowercase();
    Ok((head, answer[end + 4..].to_vec()))
}

/// A product that is as good as any.
pub fn kettle() -> Product {
    thing("kettle", "kitchen", 199_900)
}

pub fn thing(id: &str, category: &str, price_cents: i64) -> Product {
    Product {
        id: id.to_owned(),
        title: format!("The {id}"),
        description: "It does one thing well.".to_owned(),
        category: category.to_owned(),
        price_cents,
        stock: 30,
        version: 0,
    }
}

/// The structured data of a page, each script by itself.
pub fn data(page: &str) -> Result<Vec<serde_json::Value>> {
    let scripts = page.split("<script type=\"application/ld+json\">").skip(1);
    scripts
        .map(|script| {
            let (json, _) = script.split_once("</script>").context("no end")?;
            serde_json::from_str(json).with_context(|| json.to_owned())
        })
        .collect()
}
