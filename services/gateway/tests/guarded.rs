//! The suite with certificates: every edge of the call graph lets through whom it should, and
//! refuses everybody else.

use crate::support;

use anyhow::{Context as _, Result, ensure};
use larder::remote::hub::Hub;
use larder_comments::Comments;
use larder_gateway::Parts;
use larder_gateway::backends::{Addresses, Backends};
use larder_host::trial::{Home, Replica, reason};
use larder_host::{Port, Service};
use larder_products::Products;
use larder_profiles::Profiles;
use larder_proto::products::v1::product_service_client::ProductServiceClient;
use larder_proto::products::v1::{CreateProductRequest, GetProductRequest, Product};
use larder_reports::Reports;
use larder_runtime::client::{Client, Limits};
use larder_runtime::config::{Certificates, Name, Operators};
use larder_runtime::tls::{Dial, Tls};
use larder_runtime::token::Token;
use larder_testkit::pki::Authority;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use support::{Gate, SOON, nowhere};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const TOKEN: &str = "a-token-of-the-test";

/// Everybody who has a certificate.
const NAMES: [&str; 7] = [
    "gateway", "comments", "reports", "profiles", "products", "operator", "stranger",
];

/// A service, a method of it, and who may call that.
const EDGES: [(&str, &str, &[&str]); 23] = [
    (
        "profiles",
        "/larder.profiles.v1.ProfileService/GetProfile",
        &["gateway", "comments"],
    ),
    (
        "profiles",
        "/larder.profiles.v1.ProfileService/UpdateProfile",
        &["gateway"],
    ),
    (
        "profiles",
        "/larder.profiles.v1.ProfileService/BatchGetProfiles",
        &["gateway", "comments"],
    ),
    (
        "profiles",
        "/larder.cache.v1.FeedService/GetRound",
        &["comments"],
    ),
    (
        "profiles",
        "/larder.cache.v1.FeedService/FetchEntries",
        &["comments"],
    ),
    (
        "products",
        "/larder.products.v1.ProductService/GetProduct",
        &["gateway", "reports"],
    ),
    (
        "products",
        "/larder.products.v1.ProductService/DeleteProduct",
        &["gateway"],
    ),
    (
        "products",
        "/larder.products.v1.ProductService/BatchGetProducts",
        &["gateway", "reports"],
    ),
    (
        "products",
        "/larder.cache.v1.FeedService/GetRound",
        &["reports"],
    ),
    (
        "products",
        "/larder.cache.v1.FeedService/FetchEntries",
        &["reports"],
    ),
    (
        "comments",
        "/larder.comments.v1.CommentService/GetComment",
        &["gateway"],
    ),
    ("comments", "/larder.cache.v1.FeedService/GetRound", &[]),
    (
        "reports",
        "/larder.reports.v1.ReportService/GetTopProducts",
        &["gateway"],
    ),
    ("reports", "/larder.cache.v1.FeedService/GetRound", &[]),
    (
        "admin",
        "/larder.cache.v1.CacheService/Invalidate",
        &["gateway", "operator"],
    ),
    (
        "admin",
        "/larder.cache.v1.CacheService/ListKeyspaces",
        &["gateway", "operator"],
    ),
    (
        "admin",
        "/larder.cache.v1.CacheService/GetStats",
        &["gateway", "operator"],
    ),
    (
        "admin",
        "/larder.cache.v1.CacheService/ListHotKeys",
        &["gateway", "operator"],
    ),
    (
        "admin",
        "/larder.cache.v1.CacheService/Inspect",
        &["gateway", "operator"],
    ),
    ("admin", "/larder.cache.v1.CacheService/Warm", &["operator"]),
    (
        "admin",
        "/larder.cache.v1.CacheService/GetAdvice",
        &["operator"],
    ),
    (
        "admin",
        "/larder.cache.v1.CacheService/Watch",
        &["gateway", "operator"],
    ),
    (
        "admin",
        "/larder.cache.v1.CacheService/Check",
        &["operator"],
    ),
];

/// The suite, each of whose processes has a certificate of its own name.
struct Guarded {
    authority: Authority,
    folder: TempDir,
    hub: Arc<Hub>,
    home: Home,
}

impl Guarded {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("token"), TOKEN)?;
        Ok(Self {
            authority: Authority::new()?,
            folder,
            hub: Hub::new(),
            home: Home::sqlite()?,
        })
    }

    fn tls(&self, name: &str) -> Result<Tls> {
        tls(self.authority.folder(name)?.path())
    }

    /// Starts a service that these may call, and waits until it answers the first of them.
    async fn start(
        &self,
        service: impl Service,
        callers: &[&str],
    ) -> Result<(Replica, SocketAddr)> {
        let mut parts = self.home.parts(&self.hub);
        let name = |name: &&str| Ok::<Name, anyhow::Error>(name.parse()?);
        let health = TcpListener::bind("127.0.0.1:0").await?;
        let probes = health.local_addr()?;
        parts.tls = Some(self.tls(service.name())?);
        parts.callers = callers.iter().map(name).collect::<Result<_>>()?;
        parts.health = Some(Port::Taken(health));
        parts.operators = Operators {
            admin_callers: ["operator", "gateway"]
                .iter()
                .map(name)
                .collect::<Result<_>>()?,
            admin_token_file: Some(self.folder.path().join("token")),
        };
        let replica = Replica::start(service, parts).await?;
        let plain = Client::new("probes", &format!("http://{probes}"), Limits::default())?;
        let ready = async || {
            let service = "readiness".to_owned();
            let mut probe = HealthClient::new(plain.clone());
            let answer = probe.check(HealthCheckRequest { service }).await;
            answer.is_ok_and(|answer| answer.into_inner().status == 1)
        };
        larder_testkit::wait_until("a service that is ready", SOON, ready).await?;
        Ok((replica, probes))
    }

    fn way(&self, to: SocketAddr, name: &str) -> Result<Client> {
        way(to, &self.tls(name)?)
    }
}

fn tls(folder: &Path) -> Result<Tls> {
    let certificates = Certificates {
        tls_cert: Some(folder.join("cert")),
        tls_key: Some(folder.join("key")),
        tls_ca: Some(folder.join("ca")),
    };
    Tls::open(&certificates)?.context("files are named")
}

fn way(to: SocketAddr, tls: &Tls) -> Result<Client> {
    let limits = Limits {
        call: SOON,
        ..Limits::default()
    };
    Ok(Client::over(
        "test",
        &format!("https://{to}"),
        limits,
        Some(tls),
    )?)
}

/// What an admin port answers over TLS, head and all.
async fn get(to: SocketAddr, tls: &Tls, path: &str) -> Result<String> {
    let dial = Dial::to(&format!("https://{to}").parse()?, Some(tls))?;
    let mut stream = dial.secure(TcpStream::connect(to).await?).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Calls a method with an empty message until its answer begins, which of a stream may have no message
/// yet; what is in it does not matter here.
async fn call(client: Client, path: &str) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(client);
    let path = path.parse().expect("a path");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let answer = grpc.server_streaming(Request::new(()), path, codec).await;
    answer.map(drop)
}

/// Whether it was let in, whatever became of it there.
fn let_in(outcome: &Result<(), Status>) -> Result<bool> {
    match outcome {
        Err(status) if status.code() == Code::PermissionDenied => {
            ensure!(reason(status) == "CALLER_REFUSED", "{status}");
            Ok(false)
        }
        Err(status) if matches!(status.code(), Code::Unauthenticated | Code::Unavailable) => {
            anyhow::bail!("{status}")
        }
        _ => Ok(true),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_edge_lets_through_whom_it_should_and_refuses_all_others() -> Result<()> {
    let suite = Guarded::new()?;
    let profiles = suite.start(Profiles, &["gateway", "comments"]).await?.0;
    let products = suite.start(Products, &["gateway", "reports"]).await?.0;
    let to_profiles = suite.way(profiles.grpc, "comments")?;
    let comments = suite
        .start(Comments::new(to_profiles), &["gateway"])
        .await?
        .0;
    let to_products = suite.way(products.grpc, "reports")?;
    let warm = larder_reports::WARM_AT.parse()?;
    let reports = suite
        .start(Reports::new(to_products, warm), &["gateway"])
        .await?
        .0;
    for (service, method, may) in EDGES {
        let address = match service {
            "profiles" => profiles.grpc,
            "products" => products.grpc,
            "comments" => comments.grpc,
            "reports" => reports.grpc,
            _ => products.admin,
        };
        for name in NAMES {
            let outcome = call(suite.way(address, name)?, method).await;
            let edge = || format!("{name} calls {method} of {service}: {outcome:?}");
            let let_in = let_in(&outcome).with_context(edge)?;
            ensure!(let_in == may.contains(&name), edge());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_lies_ready_is_given_to_nobody_else() -> Result<()> {
    let suite = Guarded::new()?;
    let (products, _) = suite.start(Products, &["gateway", "reports"]).await?;
    let mut gateway = ProductServiceClient::new(suite.way(products.grpc, "gateway")?);
    let product = Product {
        id: "tea".to_owned(),
        title: "Tea".to_owned(),
        category: "drinks".to_owned(),
        ..Product::default()
    };
    let product = Some(product);
    gateway
        .create_product(CreateProductRequest { product })
        .await?;
    let tea = || GetProductRequest {
        id: "tea".to_owned(),
    };
    let ready = async || {
        let answer = gateway.clone().get_product(tea()).await;
        answer.is_ok_and(|answer| {
            answer
                .metadata()
                .get("larder-source")
                .is_some_and(|s| s == "l1")
        })
    };
    larder_testkit::wait_until("an answer from memory", SOON, ready).await?;
    for name in ["stranger", "comments", "products"] {
        let mut other = ProductServiceClient::new(suite.way(products.grpc, name)?);
        let refused = other.get_product(tea()).await.expect_err(name);
        assert_eq!(refused.code(), Code::PermissionDenied, "{name}");
    }
    let mut gateway = ProductServiceClient::new(suite.way(products.grpc, "gateway")?);
    assert_eq!(gateway.get_product(tea()).await?.into_inner().title, "Tea");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_takes_a_token_or_a_certificate_and_probes_need_neither() -> Result<()> {
    let suite = Guarded::new()?;
    let (products, _) = suite.start(Products, &[]).await?;
    let folder = suite.authority.folder("nobody")?;
    let nobody = Tls::open(&Certificates {
        tls_ca: Some(folder.path().join("ca")),
        ..Certificates::default()
    })?;
    let nobody = nobody.context("a file is named")?;
    let list = "/larder.cache.v1.CacheService/ListKeyspaces";
    let missing = call(way(products.admin, &nobody)?, list)
        .await
        .expect_err("no token");
    assert_eq!(
        (missing.code(), reason(&missing).as_str()),
        (Code::Unauthenticated, "CREDENTIALS_MISSING")
    );
    let file = suite.folder.path().join("shown");
    for (shown, expected) in [(TOKEN, None), ("a-token-of-the-tesu", Some("TOKEN_WRONG"))] {
        std::fs::write(&file, shown)?;
        let client = way(products.admin, &nobody)?.showing(Some(Token::open(&file)?));
        let outcome = call(client, list).await;
        assert_eq!(
            outcome.err().map(|status| reason(&status)).as_deref(),
            expected
        );
        // A good certificate does not make a wrong token right.
        let client = suite.way(products.admin, "operator")?;
        let outcome = call(client.showing(Some(Token::open(&file)?)), list).await;
        assert_eq!(
            outcome.err().map(|status| reason(&status)).as_deref(),
            expected
        );
    }
    for path in ["/live", "/ready", "/metrics"] {
        let answer = get(products.admin, &nobody, path).await?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        ensure!(
            path != "/metrics" || answer.contains("larder_certificate_expiry_timestamp_seconds{")
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_over_an_open_admin_port_that_others_can_reach() -> Result<()> {
    let home = Home::sqlite()?;
    let mut parts = home.parts(&Hub::new());
    parts.admin = Port::At(([0, 0, 0, 0], 0).into());
    let open = Replica::start(Products, parts).await?;
    let address = format!("http://127.0.0.1:{}", open.admin.port());
    let client = Client::new("test", &address, Limits::default())?;
    let ready = async || {
        let listed = call(
            client.clone(),
            "/larder.cache.v1.CacheService/ListKeyspaces",
        )
        .await;
        listed.is_ok()
    };
    larder_testkit::wait_until("a service that answers", SOON, ready).await?;
    let refused = call(client.clone(), "/larder.cache.v1.CacheService/Invalidate").await;
    let refused = refused.expect_err("it changes something");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(reason(&refused), "ADMIN_UNGUARDED");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_is_answered_through_a_suite_whose_links_are_all_guarded() -> Result<()> {
    let suite = Guarded::new()?;
    let (products, _) = suite.start(Products, &["gateway"]).await?;
    let mut writer = ProductServiceClient::new(suite.way(products.grpc, "gateway")?);
    let product = Product {
        id: "tea".to_owned(),
        title: "Tea".to_owned(),
        category: "drinks".to_owned(),
        ..Product::default()
    };
    let product = Some(product);
    writer
        .create_product(CreateProductRequest { product })
        .await?;
    let nobody = || "http://127.0.0.1:1".to_owned();
    let addresses = Addresses {
        profiles: nobody(),
        products: format!("https://{}", products.grpc),
        comments: nobody(),
        reports: nobody(),
        profiles_admin: nobody(),
        products_admin: format!("https://{}", products.admin),
        comments_admin: nobody(),
        reports_admin: nobody(),
    };
    for (name, status) in [("gateway", 200), ("stranger", 403)] {
        let tls = suite.tls(name)?;
        let gate = Gate::start(Parts {
            backends: Backends::over(&addresses, Some(&tls), None)?,
            tls: Some(tls),
            ..nowhere()
        });
        let answer = gate.await?.get("/v1/products/tea", &[]).await?;
        assert_eq!(answer.status, status, "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_shows_keys_to_those_alone_whom_the_admin_port_names() -> Result<()> {
    let suite = Guarded::new()?;
    let (products, _) = suite.start(Products, &["gateway"]).await?;
    let nobody = || "http://127.0.0.1:1".to_owned();
    let addresses = Addresses {
        profiles: nobody(),
        products: nobody(),
        comments: nobody(),
        reports: nobody(),
        profiles_admin: nobody(),
        products_admin: format!("https://{}", products.admin),
        comments_admin: nobody(),
        reports_admin: nobody(),
    };
    let tls = suite.tls("gateway")?;
    let operators = Operators {
        admin_callers: vec!["operator".parse()?],
        ..Operators::default()
    };
    let gate = Gate::start(Parts {
        backends: Backends::over(&addresses, Some(&tls), None)?,
        access: larder_gateway::access(&operators, Some(&tls))?,
        tls: Some(tls),
        ..nowhere()
    });
    let gate = gate.await?;
    for (name, may) in [("operator", true), ("stranger", false), ("gateway", false)] {
        let tls = suite.tls(name)?;
        let state = get(gate.admin, &tls, "/console/state").await?;
        ensure!(state.starts_with("HTTP/1.1 200"), "{name}: {state}");
        ensure!(
            state.contains(&format!("\"authorised\":{may}")),
            "{name}: {state}"
        );
        ensure!(state.contains("\"hot\":null") != may, "{name}: {state}");
        let products = format!("\"name\":\"products {}\",\"error\":null", products.admin);
        ensure!(state.contains(&products), "the gateway is let in: {state}");
        let look = "/console/inspect?keyspace=products&key=tea";
        let looked = get(gate.admin, &tls, look).await?;
        let status = if may { "HTTP/1.1 200" } else { "HTTP/1.1 403" };
        ensure!(looked.starts_with(status), "{name}: {looked}");
    }
    Ok(())
}
