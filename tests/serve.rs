//! One binary for every process of an image: services by themselves, the migrations before them, and
//! the question whether they are ready.

use anyhow::Result;
use larder_testkit::port::Port;
use larder_testkit::process::{Process, Program, Signal};
use larder_testkit::{http, postgres, redis};
use larder_tests::command::{self, Finished};
use std::net::SocketAddr;
use std::time::Duration;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
/// A command comes to its end at once; this is for a busy machine.
const SOON: Duration = Duration::from_secs(30);
const SERVICES: [&str; 4] = ["profiles", "products", "comments", "reports"];

async fn larder(args: &[&str]) -> Result<Finished> {
    let folder = tempfile::tempdir()?;
    command::run(LARDER, folder.path(), args, SOON).await
}

async fn healthcheck(admin: SocketAddr) -> Result<Finished> {
    larder(&["healthcheck", "--addr", &admin.to_string()]).await
}

/// A process of its own, told nothing but these arguments.
fn serve(args: &[&str]) -> Result<Process> {
    let program = Program::new(LARDER).arg("serve").args(args);
    program.farewell(Signal::TERM, SOON).spawn()
}

#[tokio::test(flavor = "multi_thread")]
async fn services_run_by_themselves_after_the_migrations_and_end_when_asked_to() -> Result<()> {
    let (redis, database) = (redis::start()?, postgres::fresh_database()?);
    let (redis, database) = (redis.url(), database.url());
    let migrated = larder(&["migrate", "--database", &database]).await?;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    let seams = ["--embedded", "deny", "--remote", &redis];
    let database = ["--database", &database];
    let (grpc, admin) = (Port::reserve()?, Port::reserve()?);
    assert_ne!(healthcheck(admin.address()).await?.code, Some(0));
    let products = serve(
        &[
            &["products"][..],
            &seams,
            &database,
            &["--grpc-addr", &grpc.address().to_string()],
            &["--admin-addr", &admin.address().to_string()],
        ]
        .concat(),
    )?;
    products.wait_ready(admin.address(), SOON).await?;
    let (front, front_admin) = (Port::reserve()?, Port::reserve()?);
    let way = format!("http://{}", grpc.address());
    let gateway = serve(
        &[
            &["gateway"][..],
            &seams,
            &["--products", &way],
            &["--http-addr", &front.address().to_string()],
            &["--admin-addr", &front_admin.address().to_string()],
        ]
        .concat(),
    )?;
    gateway.wait_ready(front_admin.address(), SOON).await?;
    for admin in [admin.address(), front_admin.address()] {
        let healthy = healthcheck(admin).await?;
        assert_eq!(healthy.code, Some(0), "{healthy:?}");
    }
    let answer = http::ask(front.address(), "GET", "/v1/products/none", &[], "").await?;
    assert_eq!(answer.status, 404, "{answer:?}");
    for process in [gateway, products] {
        assert!(process.end()?.success(), "{}", process.log());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_may_run_again_and_by_several_at_once() -> Result<()> {
    let server = postgres::start()?;
    let url = server.url();
    let args = ["migrate", "all", "--database", &url];
    let (first, second) = tokio::try_join!(larder(&args), larder(&args))?;
    let again = larder(&["migrate", "profiles", "--database", &url]).await?;
    for finished in [&first, &second, &again] {
        assert_eq!(finished.code, Some(0), "{finished:?}");
    }
    for service in SERVICES {
        assert!(first.printed.contains(&format!("{service}: ")), "{first:?}");
    }
    assert_eq!(again.printed, "profiles: up to date\n");
    server.stop()?;
    let away = larder(&args).await?;
    assert_eq!(away.code, Some(1), "{away:?}");
    assert!(away.said.contains("profiles"), "{away:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_not_ready_is_unhealthy_and_says_why() -> Result<()> {
    let server = postgres::start()?;
    server.stop()?;
    let (grpc, admin) = (Port::reserve()?, Port::reserve()?);
    let waiting = serve(&[
        "profiles",
        "--database",
        &server.url(),
        "--grpc-addr",
        &grpc.address().to_string(),
        "--admin-addr",
        &admin.address().to_string(),
    ])?;
    larder_testkit::wait_until("an answer at /live", SOON, async || {
        let addr = admin.address().to_string();
        let alive = larder(&["healthcheck", "--live", "--addr", &addr]).await;
        alive.is_ok_and(|finished| finished.code == Some(0))
    })
    .await?;
    let unhealthy = healthcheck(admin.address()).await?;
    assert_eq!(unhealthy.code, Some(1), "{unhealthy:?}");
    assert!(unhealthy.said.contains("database"), "{unhealthy:?}");
    assert!(waiting.end()?.success(), "{}", waiting.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_one_is_refused_by_name() -> Result<()> {
    let finished = larder(&["serve", "ledger"]).await?;
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.said.contains("ledger"), "{finished:?}");
    Ok(())
}
