//! What only a Redis server can show.

use crate::remote::backend::{Backend, HOUR, Hand, LONG, item, keys, named, next};
use anyhow::Result;
use larder::remote::{Error, Event, open};
use larder_testkit::{redis as server, wait_until};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_server_that_comes_later_is_found() -> Result<()> {
    let server = server::Setup::default().reserve()?;
    let remote = open(&server.url())?;
    let mut events = remote.subscribe(&named("news"));
    assert!(remote.get(&keys(["any"])).await.is_err());
    server.restart()?;
    assert_eq!(next(&mut events).await?, Event::Up);
    let backend = Backend {
        remote,
        hand: Hand::Redis(server),
    };
    backend.works().await
}

#[tokio::test]
async fn an_outage_that_nobody_saw_costs_nobody_an_error() -> Result<()> {
    let backend = Backend::redis()?;
    backend.works().await?;
    // Blocks this runtime's only thread, so that the supervisor cannot see it either.
    backend.start()?;
    backend.remote.get(&keys(["any"])).await?;
    Ok(())
}

#[tokio::test]
async fn a_subscriber_of_a_silent_server_is_told_down_and_later_up() -> Result<()> {
    let backend = Backend::redis()?;
    let mut events = backend.subscribe("news").await?;
    backend.pause()?;
    assert_eq!(next(&mut events).await?, Event::Down);
    backend.resume()?;
    assert_eq!(next(&mut events).await?, Event::Up);
    backend.works().await
}

#[tokio::test]
async fn commands_to_a_silent_server_fail_at_once_when_it_is_noticed() -> Result<()> {
    let backend = Backend::redis()?;
    backend.works().await?;
    backend.pause()?;
    let any = keys(["any"]);
    wait_until("a failure at once", LONG, async || {
        let begun = Instant::now();
        backend.remote.get(&any).await.is_err() && begun.elapsed() < Duration::from_millis(20)
    })
    .await?;
    backend.resume()?;
    backend.works().await
}

#[tokio::test]
async fn a_subscription_that_is_killed_alone_comes_back() -> Result<()> {
    let backend = Backend::redis()?;
    let mut events = backend.subscribe("news").await?;
    backend.works().await?;
    backend
        .server()?
        .command(&["CLIENT", "KILL", "TYPE", "pubsub"])?;
    assert_eq!(next(&mut events).await?, Event::Down);
    assert_eq!(next(&mut events).await?, Event::Up);
    Ok(())
}

#[tokio::test]
async fn a_channel_without_listeners_is_left() -> Result<()> {
    let backend = Backend::redis()?;
    let events = backend.subscribe("news").await?;
    let _other = backend.subscribe("other").await?;
    let listeners = || {
        backend
            .server()?
            .command(&["PUBSUB", "NUMSUB", "larder:news"])
    };
    assert_eq!(listeners()?, "larder:news\n1");
    drop(events);
    wait_until("an unsubscription", LONG, async || {
        listeners().is_ok_and(|answer| answer == "larder:news\n0")
    })
    .await
}

#[tokio::test]
async fn its_connections_are_closed_when_it_is_dropped() -> Result<()> {
    let server = server::start()?;
    let remote = open(&server.url())?;
    let mut events = remote.subscribe(&named("news"));
    assert_eq!(next(&mut events).await?, Event::Up);
    remote.get(&keys(["any"])).await?;
    drop((remote, events));
    wait_until("the end of its connections", LONG, async || {
        server
            .command(&["CLIENT", "LIST"])
            .is_ok_and(|list| list.trim().lines().count() == 1)
    })
    .await
}

#[tokio::test]
async fn many_keys_are_one_command() -> Result<()> {
    let backend = Backend::redis()?;
    let many: Vec<String> = (0..50).map(|number| named(&number.to_string())).collect();
    backend.remote.get(&many).await?;
    let stats = backend.server()?.command(&["INFO", "commandstats"])?;
    assert!(stats.contains("cmdstat_mget:calls=1,"), "{stats}");
    assert!(!stats.contains("cmdstat_get:"), "{stats}");
    Ok(())
}

#[tokio::test]
async fn a_refusal_for_want_of_memory_is_an_error_and_reads_go_on() -> Result<()> {
    let full = server::Setup::default()
        .args(["--maxmemory", "1"])
        .start()?;
    let remote = open(&full.url())?;
    assert!(matches!(
        remote.set(&[item("a", "x", HOUR)]).await,
        Err(Error::Full(_))
    ));
    assert_eq!(remote.get(&keys(["a"])).await?, [None]);
    Ok(())
}

#[tokio::test]
async fn a_password_is_used_and_never_shown() -> Result<()> {
    let server = server::Setup::default().password("hunter2").start()?;
    let remote = open(&server.url())?;
    remote.set(&[item("a", "x", HOUR)]).await?;
    assert_eq!(remote.name(), format!("redis://{}", server.address()));
    let wrong = open(&server.url().replace("hunter2", "hunter3"))?;
    let error = wrong
        .get(&keys(["a"]))
        .await
        .expect_err("the password is wrong");
    let chain = anyhow::Error::from(error.clone());
    let said = format!("{error} {error:?} {chain:#} {chain:?} {}", wrong.name());
    assert!(!said.contains("hunter"), "{said}");
    Ok(())
}

#[tokio::test]
async fn an_address_that_is_not_understood_is_refused_without_its_password() -> Result<()> {
    for url in [
        "redis://user:hunter2@host:port",
        "redis://:hunter2@",
        "redis://:hunter2@host/hunter2",
        "memcached://:hunter2@host",
        "user:hunter2@host",
        "hunter2",
        "hub:hunter2",
        "",
        "redis-sentinel://",
        "redis-sentinel:///main",
        "redis-sentinel://:hunter2@/main",
        "redis-sentinel://:hunter2@host",
        "redis-sentinel://:hunter2@host:port/main",
        "redis-sentinel://:hunter2@host,,other/main",
        "redis-sentinel://:hunter2@host/ma in",
        "redis-sentinel://host/main?db=hunter2",
        "redis-sentinel://host/main?sentinel_password=hunter2&db=x",
        "redis-sentinel://:a?hunter2&b@host/main",
        "redis-cluster://",
        "redis-cluster://:hunter2@",
        "redis-cluster://:hunter2@host/main",
        "redis-cluster://:hunter2@host?replica_reads=maybe",
        "redis-cluster://:a/hunter2@host",
    ] {
        let error = match open(url) {
            Ok(_) => anyhow::bail!("{url} was understood"),
            Err(error) => error,
        };
        assert!(matches!(error, Error::Address(_)), "{error:?}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    Ok(())
}

#[tokio::test]
async fn tls_against_a_plain_server_is_an_error_and_no_panic() -> Result<()> {
    let server = server::start()?;
    let remote = open(&server.url().replace("redis://", "rediss://"))?;
    assert!(remote.get(&keys(["a"])).await.is_err());
    assert!(remote.name().starts_with("rediss://"));
    Ok(())
}
