//! Outages: what a call costs in one, unguarded and guarded.

use crate::remote::backend::{Backend, HOUR, LONG, item, keys, message, named};
use anyhow::{Result, ensure};
use larder::clock::Clock;
use larder::remote::guard::{self, Guard};
use larder::remote::{Error, Rate, Remote as _};
use larder_testkit::wait_until;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub async fn commands_fail_in_an_outage_and_work_after_it(backend: Backend) -> Result<()> {
    backend.works().await?;
    backend.stop()?;
    let any = keys(["any"]);
    assert!(backend.remote.get(&any).await.is_err());
    let begun = Instant::now();
    for _ in 0..100 {
        assert!(backend.remote.get(&any).await.is_err());
    }
    ensure!(
        begun.elapsed() < Duration::from_secs(1),
        "a call waited for the outage to end"
    );
    backend.start()?;
    backend.works().await
}

pub async fn a_silence_fails_the_guarded_reader_and_ends(backend: Backend) -> Result<()> {
    backend.works().await?;
    let limits = guard::Limits {
        failures: u32::MAX,
        ..guard::Limits::default()
    };
    let guard = Guard::new(Arc::clone(&backend.remote), limits);
    backend.pause()?;
    assert!(guard.get(&keys(["any"])).await.is_err());
    assert!(guard.set(&[item("any", "x", HOUR)]).await.is_err());
    assert_eq!(guard.counters().timeouts, 2);
    backend.resume()?;
    backend.works().await
}

pub async fn a_guard_opens_after_failures_and_closes_after_a_success(
    backend: Backend,
) -> Result<()> {
    backend.works().await?;
    let clock = Clock::manual();
    let limits = guard::Limits {
        failures: 3,
        ..guard::Limits::default()
    };
    let guard = Guard::with_clock(Arc::clone(&backend.remote), limits, clock.clone());
    let any = keys(["any"]);
    backend.pause()?;
    for _ in 0..3 {
        assert!(!guard.is_open());
        assert!(matches!(guard.get(&any).await, Err(Error::Timeout(_))));
    }
    assert!(guard.is_open());
    assert!(matches!(guard.lives(&any).await, Err(Error::BreakerOpen)));
    clock.advance(limits.pause);
    assert!(matches!(guard.get(&any).await, Err(Error::Timeout(_))));
    assert!(matches!(guard.get(&any).await, Err(Error::BreakerOpen)));
    backend.resume()?;
    backend.works().await?;
    assert!(matches!(guard.get(&any).await, Err(Error::BreakerOpen)));
    wait_until("a guard that closed", LONG, async || {
        clock.advance(limits.pause);
        guard.get(&any).await.is_ok()
    })
    .await?;
    assert!(!guard.is_open());
    let counters = guard.counters();
    assert_eq!(counters.opened, 1);
    assert!(
        counters.refused >= 3 && counters.timeouts >= 4,
        "{counters:?}"
    );
    Ok(())
}

pub async fn a_failing_kind_of_call_leaves_the_others_alone(backend: Backend) -> Result<()> {
    backend.works().await?;
    let limits = guard::Limits {
        failures: 1,
        ..guard::Limits::default()
    };
    let guard = Guard::new(Arc::clone(&backend.remote), limits);
    backend.pause()?;
    assert!(guard.publish(&named("news"), message("x")).await.is_err());
    assert!(matches!(
        guard.publish(&named("news"), message("x")).await,
        Err(Error::BreakerOpen)
    ));
    assert!(!guard.is_open());
    let set = guard.set(&[item("any", "x", HOUR)]).await;
    assert!(
        matches!(set, Err(Error::Timeout(_))),
        "stores were asked on their own merits"
    );
    let locked = guard.lock(&keys(["any"]), 1, HOUR).await;
    assert!(
        matches!(locked, Err(Error::Timeout(_))),
        "locks were asked on their own merits"
    );
    let rate = Rate::new(1, HOUR, 1)?;
    let throttled = guard.throttle(&named("any"), &rate, 1).await;
    assert!(
        matches!(throttled, Err(Error::Timeout(_))),
        "limits were asked on their own merits"
    );
    assert!(!guard.is_open());
    let got = guard.get(&keys(["any"])).await;
    assert!(
        matches!(got, Err(Error::Timeout(_))),
        "reads were asked on their own merits"
    );
    assert!(guard.is_open());
    backend.resume()
}
