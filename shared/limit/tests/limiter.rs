//! What a limit promises, over two processes' worth of limiters on one remote tier.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use larder::clock::Clock;
use larder::remote::hub::{self, Faults, Hub};
use larder::remote::{Rate, Remote, open};
use larder_limit::{Limiter, Settings, Subject, Verdict};
use larder_runtime::config::Away;
use larder_testkit::{redis, wait_until};
use std::sync::Arc;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const LONG: Duration = Duration::from_secs(20);

fn settings(rate: Rate, away: Away) -> Settings {
    Settings {
        namespace: "larder:test".to_owned(),
        scope: "ip",
        rate,
        away,
    }
}

fn subject(name: &str) -> Subject {
    Subject::user([name.as_bytes()])
}

/// Two limiters that know of each other by the remote tier alone.
fn two(rate: Rate, url: &str) -> Result<[Limiter; 2]> {
    let one = || anyhow::Ok(Limiter::new(settings(rate, Away::Alone), open(url)?));
    Ok([one()?, one()?])
}

async fn passes(limiter: &Limiter, subject: Subject) -> bool {
    matches!(limiter.ask(subject).await, Verdict::Passed(_))
}

/// 10,000 requests about one subject, a hundred at a time, through each limiter in turn.
async fn crowd(limiters: &[Limiter; 2]) -> usize {
    let mut passed = 0;
    for round in 0..100 {
        let asked = (0..100).map(|n| passes(&limiters[(round + n) % 2], subject("crowd")));
        passed += join_all(asked).await.into_iter().filter(|p| *p).count();
    }
    passed
}

fn count(limiter: &Limiter, outcome: &str) -> u64 {
    let counts = limiter.counts().read();
    let found = counts.iter().find(|(name, _)| *name == outcome);
    found.map_or(0, |(_, count)| *count)
}

/// 100 an hour bring none in the seconds that the test takes.
fn thousand() -> Result<Rate> {
    Ok(Rate::new(100, Duration::from_secs(3600), 1000)?)
}

fn calls(server: &redis::Redis) -> Result<u64> {
    let stats = server.command(&["INFO", "commandstats"])?;
    let lines = stats.lines().filter(|line| line.contains("cmdstat_eval"));
    let calls = |line: &str| {
        line.split_once("calls=")?
            .1
            .split_once(',')?
            .0
            .parse::<u64>()
            .ok()
    };
    Ok(lines.filter_map(calls).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_requests_over_two_replicas_a_thousand_pass_on_redis() -> Result<()> {
    let server = redis::start()?;
    let limiters = two(thousand()?, &server.url())?;
    let passed = crowd(&limiters).await;
    ensure!((1000..=1010).contains(&passed), "{passed} passed");
    for limiter in &limiters {
        ensure!(count(limiter, "passed_alone") == 0 && count(limiter, "passed") > 0);
    }
    let calls = calls(&server)?;
    ensure!(calls < 2_000, "{calls} calls for 10,000 requests");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_requests_over_two_replicas_a_thousand_pass_on_the_hub() -> Result<()> {
    let remote: Arc<dyn Remote> = open("hub:")?;
    let one = || settings(thousand().expect("a rate"), Away::Alone);
    let limiters = [one(), one()].map(|settings| Limiter::new(settings, remote.clone()));
    let passed = crowd(&limiters).await;
    ensure!((1000..=1010).contains(&passed), "{passed} passed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_refused_costs_redis_nothing_and_nobody_else_anything() -> Result<()> {
    let server = redis::start()?;
    let [limiter, _] = two(Rate::new(1, DAY, 1)?, &server.url())?;
    ensure!(passes(&limiter, subject("abuser")).await);
    ensure!(!passes(&limiter, subject("abuser")).await);
    let before = calls(&server)?;
    for _ in 0..10_000 {
        let Verdict::Refused(standing) = limiter.ask(subject("abuser")).await else {
            anyhow::bail!("the abuser passed");
        };
        ensure!(standing.remaining == 0 && standing.retry_after > DAY / 2);
    }
    assert_eq!(calls(&server)?, before);
    assert_eq!(count(&limiter, "refused_here"), 10_000);
    ensure!(passes(&limiter, subject("somebody else")).await);
    Ok(())
}

/// On one thread, so that all have asked before the first answer is read.
#[tokio::test]
async fn who_asks_at_once_asks_together() -> Result<()> {
    let server = redis::start()?;
    let [limiter, _] = two(Rate::new(1, DAY, 30)?, &server.url())?;
    ensure!(passes(&limiter, subject("else")).await);
    let before = calls(&server)?;
    let asked = (0..500).map(|_| passes(&limiter, subject("hot")));
    let passed = join_all(asked).await.into_iter().filter(|passed| *passed);
    assert_eq!(passed.count(), 30);
    let calls = calls(&server)? - before;
    ensure!(calls <= 5, "{calls} calls for 500 requests at once");
    Ok(())
}

/// On a clock under control: a refusal holds to the nanosecond that the hub would have kept it.
#[tokio::test]
async fn a_refusal_is_over_when_the_remote_tier_would_let_one_pass() -> Result<()> {
    let clock = Clock::manual();
    let hub = Hub::with(clock.clone(), hub::Limits::default());
    let rate = Rate::new(10, Duration::from_secs(1), 2)?;
    let limiter = Limiter::with_clock(settings(rate, Away::Alone), hub, clock.clone());
    let who = subject("patient");
    for _ in 0..20 {
        while passes(&limiter, who).await {}
        let refused = limiter.refused(&who).context("a refusal that holds")?;
        clock.advance(refused.retry_after - Duration::from_nanos(1));
        ensure!(limiter.refused(&who).is_some(), "over too soon");
        clock.advance(Duration::from_nanos(1));
        ensure!(limiter.refused(&who).is_none(), "refused for too long");
        ensure!(passes(&limiter, who).await, "one may pass now");
    }
    Ok(())
}

#[tokio::test]
async fn while_the_remote_tier_is_away_a_process_limits_by_itself() -> Result<()> {
    let clock = Clock::manual();
    let hub = Hub::with(clock.clone(), hub::Limits::default());
    let rate = Rate::new(1, DAY, 20)?;
    let new = |away| Limiter::with_clock(settings(rate, away), hub.clone(), clock.clone());
    let (alone, refusing) = (new(Away::Alone), new(Away::Refuse));
    ensure!(passes(&alone, subject("a")).await && passes(&refusing, subject("a")).await);
    let down = Faults {
        down: true,
        ..Faults::default()
    };
    hub.set_faults(down);
    let mut passed = 0;
    for _ in 0..100 {
        passed += usize::from(passes(&alone, subject("a")).await);
        assert_eq!(refusing.ask(subject("a")).await, Verdict::Away);
    }
    assert_eq!(passed, 20, "a burst of its own");
    ensure!(alone.is_away() && refusing.is_away());
    assert_eq!(count(&alone, "passed_alone"), 20);
    assert_eq!(count(&alone, "refused_alone"), 80);
    assert_eq!(count(&refusing, "away"), 100);
    hub.set_faults(Faults::default());
    clock.advance(Duration::from_secs(1));
    ensure!(passes(&alone, subject("a")).await && passes(&refusing, subject("a")).await);
    ensure!(!alone.is_away() && !refusing.is_away());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_redis_costs_no_request_its_answer() -> Result<()> {
    let server = redis::start()?;
    let [limiter, _] = two(Rate::new(1, DAY, 20)?, &server.url())?;
    ensure!(passes(&limiter, subject("a")).await);
    for silent in [false, true] {
        if silent {
            server.pause()?;
        } else {
            server.stop()?;
        }
        wait_until("a limit of its own", LONG, async || {
            limiter.ask(subject(if silent { "b" } else { "c" })).await;
            limiter.is_away()
        })
        .await?;
        if silent {
            server.resume()?;
        } else {
            server.restart()?;
        }
        wait_until("the shared limit", LONG, async || {
            limiter.ask(subject("d")).await;
            !limiter.is_away()
        })
        .await?;
    }
    Ok(())
}
