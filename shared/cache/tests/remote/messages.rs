//! Messages: each arrives once, and a subscriber is told when some may not have.

use crate::remote::backend::{Backend, LONG, message, named, next, wait_for};
use anyhow::Result;
use bytes::Bytes;
use larder::remote::Event;

pub async fn a_message_reaches_each_subscriber_of_its_channel_once(backend: Backend) -> Result<()> {
    let mut one = backend.subscribe("news").await?;
    let mut other = backend.subscribe("news").await?;
    let mut elsewhere = backend.subscribe("olds").await?;
    let every_byte: Bytes = (0..=255).collect();
    backend
        .remote
        .publish(&named("news"), every_byte.clone())
        .await?;
    for channel in ["news", "olds"] {
        backend
            .remote
            .publish(&named(channel), message("last"))
            .await?;
    }
    for events in [&mut one, &mut other] {
        assert_eq!(next(events).await?, Event::Message(every_byte.clone()));
        assert_eq!(next(events).await?, Event::Message(message("last")));
    }
    assert_eq!(next(&mut elsewhere).await?, Event::Message(message("last")));
    Ok(())
}

pub async fn a_slow_subscriber_is_told_down_and_up(backend: Backend) -> Result<()> {
    let mut slow = backend.subscribe("news").await?;
    let mut quick = backend.subscribe("news").await?;
    for _ in 0..3000 {
        backend
            .remote
            .publish(&named("news"), message("flood"))
            .await?;
        assert_eq!(next(&mut quick).await?, Event::Message(message("flood")));
    }
    wait_for(&mut slow, &Event::Down).await?;
    assert_eq!(next(&mut slow).await?, Event::Up);
    backend
        .remote
        .publish(&named("news"), message("last"))
        .await?;
    wait_for(&mut slow, &Event::Message(message("last"))).await
}

pub async fn a_subscriber_is_told_down_and_up_around_an_outage(backend: Backend) -> Result<()> {
    let mut events = backend.subscribe("news").await?;
    for _ in 0..3 {
        backend.stop()?;
        assert_eq!(next(&mut events).await?, Event::Down);
        let mut late = backend.remote.subscribe(&named("news"));
        backend.start()?;
        assert_eq!(next(&mut events).await?, Event::Up);
        assert_eq!(next(&mut late).await?, Event::Up);
        backend.works().await?;
        backend
            .remote
            .publish(&named("news"), message("back"))
            .await?;
        assert_eq!(next(&mut events).await?, Event::Message(message("back")));
        assert_eq!(next(&mut late).await?, Event::Message(message("back")));
    }
    Ok(())
}

pub async fn subscriptions_end_with_the_remote(backend: Backend) -> Result<()> {
    let mut events = backend.subscribe("news").await?;
    drop(backend);
    while tokio::time::timeout(LONG, events.recv()).await?.is_some() {}
    Ok(())
}
