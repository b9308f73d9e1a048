//! What only the hub can be told to do.

use crate::remote::backend::{HOUR, LONG, item, keys, message};
use anyhow::Result;
use bytes::Bytes;
use larder::clock::Clock;
use larder::remote::hub::{self, Faults, Hub};
use larder::remote::{Event, Remote as _, open};
use std::sync::Arc;
use tokio::sync::mpsc::Receiver;

fn faults() -> Faults {
    Faults::default()
}

fn told(events: &mut Receiver<Event>) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

fn messages<const N: usize>(texts: [&'static str; N]) -> Vec<Event> {
    texts.map(|text| Event::Message(message(text))).to_vec()
}

#[tokio::test]
async fn messages_are_lost_doubled_held_and_reversed_as_told() -> Result<()> {
    let hub = Hub::new();
    let mut events = hub.subscribe("news");
    assert_eq!(told(&mut events), [Event::Up]);
    let publish = async || -> Result<()> {
        for text in ["a", "b", "c", "d"] {
            hub.publish("news", message(text)).await?;
        }
        Ok(())
    };
    hub.set_faults(Faults {
        lose_every: 2,
        ..faults()
    });
    publish().await?;
    assert_eq!(told(&mut events), messages(["a", "c"]));
    hub.set_faults(Faults {
        double_every: 4,
        ..faults()
    });
    publish().await?;
    assert_eq!(told(&mut events), messages(["a", "b", "c", "d", "d"]));
    hub.set_faults(Faults {
        hold: true,
        ..faults()
    });
    publish().await?;
    assert_eq!(told(&mut events), []);
    hub.set_faults(Faults {
        reverse: true,
        ..faults()
    });
    assert_eq!(told(&mut events), messages(["d", "c", "b", "a"]));
    Ok(())
}

#[tokio::test]
async fn values_are_forgotten_and_come_back_as_told() -> Result<()> {
    let hub = Hub::new();
    hub.set(&[item("a", "old", HOUR), item("b", "old", HOUR)])
        .await?;
    let dump = hub.dump();
    hub.set(&[item("a", "new", HOUR)]).await?;
    hub.remove(&keys(["b"])).await?;
    hub.restore(&dump);
    let old = Some(message("old"));
    assert_eq!(hub.get(&keys(["a", "b"])).await?, [old.clone(), old]);
    hub.set_faults(Faults {
        forget_every: 1,
        ..faults()
    });
    hub.set(&[item("a", "new", HOUR)]).await?;
    assert_eq!(hub.get(&keys(["a"])).await?, [None]);
    hub.clear();
    assert_eq!(hub.entries(), 0);
    Ok(())
}

#[tokio::test]
async fn calls_of_a_slow_hub_end_when_it_is_released() -> Result<()> {
    let hub = Hub::new();
    hub.set_faults(Faults {
        slow: true,
        ..faults()
    });
    let waiting = tokio::spawn({
        let hub = Arc::clone(&hub);
        async move { hub.set(&[item("a", "x", HOUR)]).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    hub.set_faults(faults());
    tokio::time::timeout(LONG, waiting).await???;
    assert_eq!(hub.get(&keys(["a"])).await?, [Some(message("x"))]);
    Ok(())
}

#[tokio::test]
async fn it_does_not_grow_for_ever() -> Result<()> {
    let limits = hub::Limits {
        size_bytes: 1 << 20,
        entries: 100,
    };
    let hub = Hub::with(Clock::manual(), limits);
    for number in 0..1000 {
        let key = number.to_string();
        hub.set(&[item(&key, vec![0; 1000], HOUR)]).await?;
        hub.lock(&[format!("lock {key}")], 1, HOUR).await?;
    }
    assert_eq!(hub.entries(), 100);
    assert_eq!(
        hub.get(&keys(["999"])).await?,
        [Some(Bytes::from(vec![0; 1000]))]
    );
    Ok(())
}

#[tokio::test]
async fn each_address_opens_a_hub_of_its_own() -> Result<()> {
    let (one, other) = (open("hub:")?, open("hub:")?);
    one.set(&[item("a", "x", HOUR)]).await?;
    assert_eq!(other.get(&keys(["a"])).await?, [None]);
    Ok(())
}
