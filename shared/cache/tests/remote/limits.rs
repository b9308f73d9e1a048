//! Rate limits: no more passes than may, and whoever waits as told does.

use crate::remote::backend::{Backend, Hand, LONG, item, keys, named};
use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use larder::remote::{Rate, Throttled, open};
use larder_testkit::wait_until;
use std::sync::Arc;
use std::time::{Duration, Instant};

const DAY: Duration = Duration::from_secs(86_400);

/// `burst` at once, and then nothing for as long as a test can take.
fn burst(burst: u32) -> Result<Rate> {
    Ok(Rate::new(1, DAY, burst)?)
}

/// `burst` at once, and then one in each `interval`.
fn each(interval: Duration, burst: u32) -> Result<Rate> {
    Ok(Rate::new(1, interval, burst)?)
}

pub async fn a_burst_passes_and_no_more_however_many_ask_at_once(backend: Backend) -> Result<()> {
    let rate = burst(20)?;
    let ask = async || {
        let told = backend.remote.throttle(&named("crowd"), &rate, 1).await?;
        anyhow::Ok(told.granted)
    };
    let told = join_all((0..200).map(|_| ask())).await;
    let passed: u32 = told.into_iter().sum::<Result<u32>>()?;
    assert_eq!(passed, 20);
    Ok(())
}

pub async fn a_wish_is_granted_as_far_as_it_can_be(backend: Backend) -> Result<()> {
    let rate = burst(5)?;
    let ask = async |wanted| backend.remote.throttle(&named("wish"), &rate, wanted).await;
    let count = |told: Throttled| (told.granted, told.remaining);
    let looked = ask(0).await?;
    assert_eq!(count(looked), (0, 5));
    assert_eq!((looked.retry_after, looked.reset_after), Default::default());
    assert_eq!(count(ask(3).await?), (3, 2));
    let last = ask(1000).await?;
    assert_eq!(count(last), (2, 0));
    assert!(last.retry_after <= DAY && last.reset_after <= 5 * DAY);
    assert!(last.retry_after >= DAY / 2 && last.reset_after >= 4 * DAY);
    assert_eq!(count(ask(1).await?), (0, 0));
    let all = backend
        .remote
        .throttle(&named("other wish"), &rate, u32::MAX)
        .await;
    assert_eq!(count(all?), (5, 0), "never more than a burst");
    Ok(())
}

/// A hub's time moves by hand, that of Redis by itself; each is held to the microsecond or to
/// what a busy machine adds.
pub async fn one_more_passes_when_it_was_said_and_not_before(backend: Backend) -> Result<()> {
    let (interval, micro) = (Duration::from_millis(150), Duration::from_micros(1));
    let rate = each(interval, 2)?;
    let ask = async || backend.remote.throttle(&named("patient"), &rate, 1).await;
    let begun = Instant::now();
    backend.remote.throttle(&named("patient"), &rate, 2).await?;
    let refused = ask().await?;
    let answered = Instant::now();
    ensure!(
        refused.granted == 0 || begun.elapsed() >= interval,
        "passed too soon"
    );
    if let Hand::Hub(_, clock) = &backend.hand {
        assert_eq!(refused.retry_after, interval);
        clock.advance(interval - micro);
        assert_eq!(ask().await?.retry_after, micro);
        clock.advance(micro);
        assert_eq!(ask().await?.granted, 1);
        assert_eq!(ask().await?.granted, 0);
        return Ok(());
    }
    // One that passed already did so late enough, as was seen above.
    let mut granted = refused.granted;
    while granted == 0 {
        let asked = Instant::now();
        granted = ask().await?.granted;
        ensure!(
            granted == 0 || begun.elapsed() + micro >= interval,
            "passed too soon"
        );
        ensure!(
            granted == 1 || asked < answered + refused.retry_after + micro,
            "refused for too long"
        );
    }
    Ok(())
}

pub async fn keys_are_limited_apart(backend: Backend) -> Result<()> {
    let rate = burst(1)?;
    for key in ["a", "b", "binary \r\n\0 key of ü"] {
        assert_eq!(
            backend
                .remote
                .throttle(&named(key), &rate, 1)
                .await?
                .granted,
            1
        );
        assert_eq!(
            backend
                .remote
                .throttle(&named(key), &rate, 1)
                .await?
                .granted,
            0
        );
    }
    Ok(())
}

pub async fn a_limit_that_is_whole_again_leaves_nothing_behind(backend: Backend) -> Result<()> {
    let rate = each(Duration::from_millis(50), 2)?;
    let told = backend.remote.throttle(&named("short"), &rate, 2).await?;
    backend
        .remote
        .throttle(&named("long"), &burst(2)?, 1)
        .await?;
    backend.advance(told.reset_after);
    let both = keys(["short", "long"]);
    wait_until("the end of a state", LONG, async || {
        let there = backend.remote.get(&both).await;
        there.is_ok_and(|there| there[0].is_none() && there[1].is_some())
    })
    .await?;
    assert_eq!(
        backend
            .remote
            .throttle(&named("short"), &rate, 2)
            .await?
            .granted,
        2
    );
    Ok(())
}

pub async fn what_cannot_be_a_limits_state_harms_nobody(backend: Backend) -> Result<()> {
    let rate = burst(3)?;
    for rubbish in ["", "rubbish", "nan", "-1", "0"] {
        backend.remote.set(&[item("planted", rubbish, DAY)]).await?;
        let told = backend.remote.throttle(&named("planted"), &rate, 1).await?;
        assert_eq!((told.granted, told.remaining), (1, 2), "{rubbish}");
    }
    let far = u64::MAX.to_string();
    backend.remote.set(&[item("planted", far, DAY)]).await?;
    let told = backend.remote.throttle(&named("planted"), &rate, 1).await?;
    assert_eq!((told.granted, told.retry_after), (0, rate.interval()));
    Ok(())
}

pub async fn a_limit_is_kept_through_another_handle(backend: Backend) -> Result<()> {
    let rate = burst(3)?;
    let other = match &backend.hand {
        Hand::Hub(hub, _) => Arc::clone(hub) as _,
        Hand::Redis(server) => open(&server.url())?,
        Hand::Sentinel(servers) => open(&servers.url())?,
        Hand::Cluster(servers) => open(&servers.url())?,
    };
    backend.remote.throttle(&named("shared"), &rate, 2).await?;
    let mut told = None;
    wait_until("an answer through the other handle", LONG, async || {
        told = other.throttle(&named("shared"), &rate, 2).await.ok();
        told.is_some()
    })
    .await?;
    assert_eq!(told.context("an answer")?.granted, 1);
    Ok(())
}

pub mod redis_only {
    use super::*;

    #[tokio::test]
    async fn a_limit_costs_one_command_and_is_told_its_script_once() -> Result<()> {
        let backend = Backend::redis()?;
        let rate = burst(20)?;
        for _ in 0..50 {
            backend.remote.throttle(&named("a"), &rate, 1).await?;
        }
        let calls = |stats: &str, command: &str| {
            let line = format!("cmdstat_{command}:calls=");
            let (_, rest) = stats.split_once(&line)?;
            rest.split_once(',')?.0.parse::<u32>().ok()
        };
        let stats = backend.server()?.command(&["INFO", "commandstats"])?;
        assert_eq!(calls(&stats, "evalsha"), Some(50), "{stats}");
        assert_eq!(calls(&stats, "eval"), Some(1), "{stats}");
        Ok(())
    }

    #[tokio::test]
    async fn a_script_that_was_forgotten_is_told_again() -> Result<()> {
        let backend = Backend::redis()?;
        let rate = burst(3)?;
        for granted in [1, 1, 1, 0] {
            let told = backend.remote.throttle(&named("a"), &rate, 1).await?;
            assert_eq!(told.granted, granted);
            backend.server()?.command(&["SCRIPT", "FLUSH"])?;
        }
        Ok(())
    }
}
