//! Manifests and Compose give processes all that they need: the suite that is started as they say is ready
//! by its probes, sells, takes hooks, and is called by those who may.

use anyhow::{Context as _, Result, ensure};
use larder_proto::cache::v1::cache_service_client::CacheServiceClient;
use larder_proto::cache::v1::{InvalidateRequest, WarmRequest};
use larder_proto::callers::KNOWN;
use larder_proto::comments::v1::GetCommentRequest;
use larder_proto::comments::v1::comment_service_client::CommentServiceClient;
use larder_proto::products::v1::product_service_client::ProductServiceClient;
use larder_proto::products::v1::{CreateProductRequest, GetProductRequest, Product};
use larder_proto::profiles::v1::GetProfileRequest;
use larder_proto::profiles::v1::profile_service_client::ProfileServiceClient;
use larder_proto::reports::v1::GetTopProductsRequest;
use larder_proto::reports::v1::report_service_client::ReportServiceClient;
use larder_runtime::client::{Client, Limits};
use larder_runtime::token::Token;
use larder_testkit::http::ask;
use larder_testkit::port::Port;
use larder_testkit::wait_until;
use larder_tests::deployed::{Deployed, SERVICES, Told};
use larder_tests::{hook, metrics};
use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;
use tonic::{Code, Status};

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
const SOON: Duration = Duration::from_secs(60);
const ENVIRONMENTS: [&str; 3] = ["dev", "production", "compose"];
const CACHE: &str = "/larder.cache.v1.CacheService/";

async fn start(environment: &str) -> Result<Deployed> {
    let suite = Deployed::start(LARDER, environment, SOON).await?;
    suite.ready(SOON).await?;
    Ok(suite)
}

/// Writes and reads through every link: the gateway to all services, comments to profiles, reports to products.
async fn sells(suite: &Deployed) -> Result<()> {
    let http = suite.address("gateway", 8080)?;
    let tea = r#"{"id":"tea","title":"Tea","category":"drinks","price_cents":350}"#;
    let ada = r#"{"id":"ada","display_name":"Ada"}"#;
    let comment = r#"{"id":"first","author_id":"ada","body":"Good."}"#;
    for (path, body) in [
        ("/v1/products", tea),
        ("/v1/profiles", ada),
        ("/v1/products/tea/comments", comment),
    ] {
        let made = ask(http, "POST", path, &[], body).await?;
        ensure!(made.status == 201, "{path}: {} {}", made.status, made.body);
    }
    let strong = [("larder-freshness", "strong")];
    for (path, part) in [
        ("/v1/products/tea", "Tea"),
        ("/v1/products/tea/comments", "Ada"),
        (
            "/v1/reports/sales?first_day=2026-05-01&last_day=2026-05-31",
            "",
        ),
    ] {
        let read = ask(http, "GET", path, &strong, "").await?;
        let good = read.status == 200 && read.body.contains(part);
        ensure!(good, "{path}: {} {}", read.status, read.body);
    }
    Ok(())
}

async fn takes_hooks(suite: &Deployed) -> Result<()> {
    let http = suite.address("gateway", 8080)?;
    let body = r#"{"keyspace":"products","key":"tea"}"#;
    let refused = hook(http, "another secret of that length", body).await?;
    ensure!(refused.status == 401, "{} {}", refused.status, refused.body);
    let secret = suite.secret_of("gateway", "LARDER_HOOK_SECRET")?;
    let taken = hook(http, &secret, body).await?;
    ensure!(taken.status == 200, "{} {}", taken.status, taken.body);
    Ok(())
}

/// Asks a service for something that is not there.
async fn call(service: &str, way: Client) -> Result<(), Status> {
    let id = || "none".to_owned();
    match service {
        "profiles" => {
            let request = GetProfileRequest { id: id() };
            let asked = ProfileServiceClient::new(way).get_profile(request).await;
            asked.map(drop)
        }
        "products" => {
            let request = GetProductRequest { id: id() };
            let asked = ProductServiceClient::new(way).get_product(request).await;
            asked.map(drop)
        }
        "comments" => {
            let request = GetCommentRequest { id: id() };
            let asked = CommentServiceClient::new(way).get_comment(request).await;
            asked.map(drop)
        }
        _ => {
            let request = GetTopProductsRequest::default();
            let asked = ReportServiceClient::new(way)
                .get_top_products(request)
                .await;
            asked.map(drop)
        }
    }
}

async fn warm(way: Client) -> Result<(), Status> {
    let mut cache = CacheServiceClient::new(way);
    cache.warm(WarmRequest::default()).await.map(drop)
}

async fn invalidate(way: Client) -> Result<(), Status> {
    let mut cache = CacheServiceClient::new(way);
    let dropped = cache.invalidate(InvalidateRequest::default()).await;
    dropped.map(drop)
}

/// Whether it was let in, whatever became of it there.
fn let_in(outcome: &Result<(), Status>) -> Result<bool> {
    match outcome.as_ref().err().map(Status::code) {
        Some(Code::PermissionDenied) => Ok(false),
        Some(Code::Unauthenticated | Code::Unavailable | Code::DeadlineExceeded) => {
            anyhow::bail!("{outcome:?}")
        }
        _ => Ok(true),
    }
}

/// Whom the call graph has call this method, or something of this package.
fn callers(of: &str) -> BTreeSet<&'static str> {
    let calls = |methods: &[&str]| {
        let mut methods = methods.iter();
        methods.any(|m| m.starts_with(of) || m.ends_with('/') && of.starts_with(m))
    };
    let known = KNOWN.iter().filter(|(_, methods)| calls(methods));
    known.map(|(name, _)| *name).collect()
}

/// Everybody who has a certificate tries everything.
async fn is_called_by_those_who_may(suite: &Deployed) -> Result<()> {
    for (name, _) in KNOWN {
        for service in ["profiles", "products", "comments", "reports"] {
            let way = |port| suite.way(service, port, name);
            for (of, outcome) in [
                (
                    format!("/larder.{service}.v1."),
                    call(service, way(7000)?).await,
                ),
                (format!("{CACHE}Invalidate"), invalidate(way(9000)?).await),
                (format!("{CACHE}Warm"), warm(way(9000)?).await),
            ] {
                let edge = || format!("{name} calls {of} of {service}: {outcome:?}");
                let let_in = let_in(&outcome).with_context(edge)?;
                ensure!(let_in == callers(&of).contains(name), edge());
            }
        }
    }
    let plain = format!("http://{}", suite.address("products", 7000)?);
    let nobody = call("products", Client::new("test", &plain, Limits::default())?).await;
    ensure!(nobody.is_err_and(|status| status.code() == Code::Unavailable));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_as_in_production_works_and_every_edge_is_held() -> Result<()> {
    let suite = start("production").await?;
    sells(&suite).await?;
    takes_hooks(&suite).await?;
    is_called_by_those_who_may(&suite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_as_in_compose_works_and_its_health_checks_reach_it() -> Result<()> {
    let suite = start("compose").await?;
    sells(&suite).await?;
    takes_hooks(&suite).await?;
    is_called_by_those_who_may(&suite).await?;
    let health = async |address: String| {
        let mut check = tokio::process::Command::new(LARDER);
        check.arg("healthcheck").env("LARDER_HEALTH_ADDR", address);
        // As in the image, where the admin port would answer TLS.
        check.env("METRICS_ADDR", ":1").stderr(Stdio::null());
        anyhow::Ok(check.status().await?.success())
    };
    for service in SERVICES {
        ensure!(
            health(suite.address(service, 7001)?.to_string()).await?,
            "{service}"
        );
    }
    ensure!(!health(Port::reserve()?.address().to_string()).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_as_in_development_works_and_its_caches_want_the_token() -> Result<()> {
    let suite = start("dev").await?;
    sells(&suite).await?;
    takes_hooks(&suite).await?;
    let admin = || suite.way("products", 9000, "nobody");
    let missing = invalidate(admin()?).await.expect_err("no token");
    ensure!(missing.code() == Code::Unauthenticated, "{missing}");
    let token = Token::open(&suite.file("keys/admin-token"))?;
    let shown = invalidate(admin()?.showing(Some(token))).await;
    ensure!(let_in(&shown)?, "{shown:?}");
    what_somebody_seals_with_another_key_is_not_believed(&suite).await
}

async fn what_somebody_seals_with_another_key_is_not_believed(suite: &Deployed) -> Result<()> {
    let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
    let key = suite.file("another-key");
    std::fs::write(&key, "f".repeat(64))?;
    let mut forger = suite.program("products")?.env("LARDER_SEAL_KEY_FILE", &key);
    let listen = ["GRPC_ADDR", "METRICS_ADDR", "LARDER_HEALTH_ADDR"];
    for (setting, port) in listen.into_iter().zip(&ports) {
        forger = forger.env(setting, port.address().to_string());
    }
    let forger = forger.spawn()?;
    forger.wait_ready(ports[1].address(), SOON).await?;
    let products = suite.address("products", 9000)?;
    let way = Client::new(
        "test",
        &format!("http://{}", ports[0].address()),
        Limits::default(),
    )?;
    let mut number = 0;
    let noticed = async || {
        number += 1;
        let product = Some(Product {
            id: format!("forged-{number}"),
            title: "Forged".to_owned(),
            category: "drinks".to_owned(),
            ..Product::default()
        });
        let request = CreateProductRequest { product };
        let made = ProductServiceClient::new(way.clone())
            .create_product(request)
            .await;
        let page = metrics::get(products, "/metrics").await;
        made.is_ok()
            && page.is_ok_and(|(_, page)| {
                metrics::sum(&page, "larder_hints_total", &["outcome=\"malformed\""]) > 0
            })
    };
    wait_until("a hint that is refused", SOON, noticed).await
}

#[test]
fn who_may_call_whom_is_deployed_as_the_call_graph_says() -> Result<()> {
    let listed = |names: Option<&String>| -> BTreeSet<String> {
        names
            .into_iter()
            .flat_map(|names| names.split(','))
            .map(str::to_owned)
            .collect()
    };
    let expected = |of: &str| {
        callers(of)
            .into_iter()
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    for environment in ["production", "compose"] {
        let told = Told::of(environment)?;
        for service in SERVICES {
            let settings = told.settings(service);
            let graph = expected(&format!("/larder.{service}.v1."));
            assert_eq!(
                listed(settings.get("LARDER_CALLERS")),
                graph,
                "{environment} {service}"
            );
            let operators = listed(settings.get("LARDER_ADMIN_CALLERS"));
            assert_eq!(operators, expected(CACHE), "{environment} {service}");
        }
    }
    Ok(())
}

#[test]
fn wherever_it_is_deployed_it_is_guarded_and_on_nothing_embedded() -> Result<()> {
    for environment in ENVIRONMENTS {
        let told = Told::of(environment)?;
        for service in SERVICES {
            let settings = told.settings(service);
            let set = |name: &str| settings.get(name).map(String::as_str);
            let files = [
                "LARDER_ADMIN_TOKEN_FILE",
                "LARDER_SEAL_KEY_FILE",
                "LARDER_HEALTH_ADDR",
            ];
            for name in files {
                assert!(set(name).is_some(), "{environment} {service} {name}");
            }
            assert_eq!(
                set("LARDER_EMBEDDED"),
                Some("deny"),
                "{environment} {service}"
            );
            assert_eq!(
                set("LARDER_MIGRATE"),
                Some("wait"),
                "{environment} {service}"
            );
        }
    }
    Ok(())
}

#[test]
fn nobody_is_told_a_secret_that_is_not_needed() -> Result<()> {
    let needed = |process| match process {
        "gateway" => vec!["LARDER_HOOK_SECRET", "REDIS_URL"],
        "migrate" => vec!["DATABASE_URL"],
        _ => vec!["DATABASE_URL", "REDIS_URL"],
    };
    for environment in ENVIRONMENTS {
        let told = Told::of(environment)?;
        for process in SERVICES.into_iter().chain(["migrate"]) {
            assert_eq!(
                told.secrets(process),
                needed(process),
                "{environment} {process}"
            );
        }
    }
    Ok(())
}
