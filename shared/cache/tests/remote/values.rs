//! Values and locks: they come back as they were, and their lives end.

use crate::remote::backend::{Backend, HOUR, LONG, item, keys, message, named};
use anyhow::{Result, ensure};
use bytes::Bytes;
use larder_testkit::wait_until;
use std::time::{Duration, Instant};

pub async fn values_come_back_as_they_were(backend: Backend) -> Result<()> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let values = [
        ("empty", Vec::new()),
        ("binary \r\n\0 key of ü", every_byte.clone()),
        ("large", every_byte.repeat(4096)),
    ];
    let items: Vec<_> = values
        .iter()
        .map(|(key, v)| item(key, v.clone(), HOUR))
        .collect();
    backend.remote.set(&items).await?;
    for item in items {
        assert_eq!(backend.remote.get(&[item.key]).await?, [Some(item.value)]);
    }
    Ok(())
}

pub async fn values_come_in_the_order_of_their_keys_with_gaps(backend: Backend) -> Result<()> {
    let name = |number: usize| format!("key {number}");
    let items = (0..50)
        .rev()
        .step_by(2)
        .map(|n| item(&name(n), name(n), HOUR));
    backend.remote.set(&items.collect::<Vec<_>>()).await?;
    let all: Vec<String> = (0..50).map(|n| named(&name(n))).collect();
    let expected: Vec<_> = (0..50)
        .map(|n| (n % 2 == 1).then(|| Bytes::from(name(n))))
        .collect();
    assert_eq!(backend.remote.get(&all).await?, expected);
    let twice = backend.remote.get(&keys(["key 1", "key 1"])).await?;
    assert_eq!(twice, [Some(message("key 1")), Some(message("key 1"))]);
    Ok(())
}

pub async fn nothing_asked_is_nothing_done(backend: Backend) -> Result<()> {
    assert!(backend.remote.get(&[]).await?.is_empty());
    assert!(backend.remote.lock(&[], 1, HOUR).await?.is_empty());
    backend.remote.set(&[]).await?;
    backend.remote.remove(&[]).await?;
    backend.remote.unlock(&[], 1).await?;
    Ok(())
}

pub async fn a_value_is_gone_after_its_life(backend: Backend) -> Result<()> {
    let short = Duration::from_millis(300);
    let begun = Instant::now();
    backend
        .remote
        .set(&[item("short", "x", short), item("none", "x", Duration::ZERO)])
        .await?;
    backend.remote.set(&[item("long", "x", HOUR)]).await?;
    let there = backend.remote.get(&keys(["short", "long"])).await?;
    ensure!(
        there[0].is_some() || begun.elapsed() >= short,
        "gone before its time"
    );
    backend.advance(short);
    let keys = keys(["short", "none", "long"]);
    wait_until("the end of a life", LONG, async || {
        let there = backend.remote.get(&keys).await;
        there.is_ok_and(|t| t[0].is_none() && t[1].is_none() && t[2].is_some())
    })
    .await
}

pub async fn what_is_set_again_or_removed_is_not_there_any_more(backend: Backend) -> Result<()> {
    backend
        .remote
        .set(&[item("a", "1", HOUR), item("b", "1", HOUR)])
        .await?;
    backend.remote.set(&[item("a", "2", HOUR)]).await?;
    backend.remote.remove(&keys(["b", "never there"])).await?;
    let there = backend.remote.get(&keys(["a", "b"])).await?;
    assert_eq!(there, [Some(message("2")), None]);
    Ok(())
}

pub async fn a_lock_is_taken_once_until_it_runs_out(backend: Backend) -> Result<()> {
    let (a, both) = (keys(["lock a"]), keys(["lock a", "lock b"]));
    let short = Duration::from_millis(300);
    let begun = Instant::now();
    assert_eq!(backend.remote.lock(&a, 1, short).await?, [true]);
    let taken = backend.remote.lock(&both, 2, HOUR).await?;
    if taken != [false, true] {
        // It can only have run out on the way, and the hour of who got it then must not count.
        ensure!(begun.elapsed() >= short, "taken twice");
        backend.remote.unlock(&a, 2).await?;
    }
    backend.advance(short);
    wait_until("the end of a lock", LONG, async || {
        backend
            .remote
            .lock(&a, 3, HOUR)
            .await
            .is_ok_and(|taken| taken == [true])
    })
    .await?;
    assert_eq!(backend.remote.lock(&both, 1, HOUR).await?, [false, false]);
    Ok(())
}

pub async fn only_its_owner_opens_a_lock(backend: Backend) -> Result<()> {
    let both = keys(["lock a", "lock b"]);
    let (owner, other) = (u64::MAX, 1);
    assert_eq!(backend.remote.lock(&both, owner, HOUR).await?, [true, true]);
    backend.remote.unlock(&both, other).await?;
    assert_eq!(
        backend.remote.lock(&both, other, HOUR).await?,
        [false, false]
    );
    backend.remote.unlock(&both, owner).await?;
    assert_eq!(backend.remote.lock(&both, other, HOUR).await?, [true, true]);
    Ok(())
}
