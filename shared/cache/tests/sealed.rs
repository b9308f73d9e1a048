//! Somebody who may do in Redis what the suite may, and does not know its key: whatever they write
//! there, nobody is answered with it, and what they take away costs time and nothing else.

use crate::support;

use anyhow::Result;
use bytes::Bytes;
use larder::remote::{self, Item, Remote};
use larder::{Larder, Origin, Policy, Read, SealKey, Tiers};
use larder_testkit::redis::{self, Redis};
use larder_testkit::wait_until;
use std::sync::Arc;
use std::time::Duration;
use support::{Database, Loader, Node, Tells, Through, row, text, until};

const LONG: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);
const OURS: [u8; 32] = [7; 32];
const THEIRS: [u8; 32] = [8; 32];

async fn client(server: &Redis) -> Result<Arc<dyn Remote>> {
    let remote = remote::open(&server.url())?;
    let any = ["larder:any".to_owned()];
    wait_until("a server", LONG, async || remote.get(&any).await.is_ok()).await?;
    Ok(remote)
}

/// A process that seals with this key, and keeps nothing in memory.
async fn node(server: &Redis, database: &Arc<Database>, key: Option<[u8; 32]>) -> Result<Node> {
    let larder = Larder::builder(client(server).await?).tiers(Tiers::RemoteOnly);
    let larder = match key {
        Some(key) => larder.seal(SealKey::new(key)),
        None => larder,
    };
    let larder = larder.build();
    let source = larder.source("rows").feed(database.clone()).open();
    let loader = Loader::new(database, Tells::Primary);
    let policy = Policy {
        max_staleness: HOUR,
        ..Policy::default()
    };
    let rows = source.keyspace("rows", Through(loader.clone()));
    let rows = rows.policy(policy).open()?;
    until(|| source.is_proven()).await;
    Ok(Node {
        larder,
        source,
        rows,
        loader,
    })
}

/// Two rows, in what is the truth or in what somebody would have us believe.
fn database(texts: [&str; 2]) -> Arc<Database> {
    let database: Arc<Database> = Arc::default();
    for (id, text) in ["1", "2"].into_iter().zip(texts) {
        database.put(id, Some(("a", text)));
    }
    database
}

fn names() -> [String; 2] {
    ["1", "2"].map(|id| format!("larder:v1:rows:r{id}"))
}

/// What lies in Redis under both names, once it does.
async fn stored(remote: &Arc<dyn Remote>) -> Result<[Bytes; 2]> {
    let mut found = None;
    wait_until("both values in Redis", LONG, async || {
        if let Ok(values) = remote.get(&names()).await
            && let [Some(one), Some(two)] = &values[..]
        {
            found = Some([one.clone(), two.clone()]);
        }
        found.is_some()
    })
    .await?;
    found.ok_or_else(|| anyhow::anyhow!("nothing was stored"))
}

async fn plant(remote: &Arc<dyn Remote>, values: [Bytes; 2]) -> Result<()> {
    let items = names().into_iter().zip(values);
    let items: Vec<_> = items
        .map(|(key, value)| Item {
            key,
            value,
            ttl: HOUR,
        })
        .collect();
    Ok(remote.set(&items).await?)
}

async fn read(node: &Node, id: &str) -> (String, Origin) {
    let answer = node.answer(&row(id), &Read::bounded()).await;
    node.settled().await;
    (text(&answer), answer.origin)
}

async fn both(node: &Node) -> [String; 2] {
    [read(node, "1").await.0, read(node, "2").await.0]
}

/// What a forger without our key, or with no key at all, stores and says.
async fn forged(server: &Redis, key: Option<[u8; 32]>) -> Result<[Bytes; 2]> {
    let remote = client(server).await?;
    let forger = node(server, &database(["forged one", "forged two"]), key).await?;
    remote.remove(&names()).await?;
    both(&forger).await;
    stored(&remote).await
}

#[tokio::test]
async fn without_a_key_a_planted_value_is_answered() -> Result<()> {
    // What the next test would not notice if it were so there as well.
    let server = redis::start()?;
    forged(&server, None).await?;
    let reader = node(&server, &database(["one", "two"]), None).await?;
    assert_eq!(
        read(&reader, "1").await,
        ("forged one".to_owned(), Origin::L2)
    );
    Ok(())
}

#[tokio::test]
async fn a_value_planted_by_whoever_does_not_know_the_key_is_never_answered() -> Result<()> {
    let server = redis::start()?;
    let truth = database(["one", "two"]);
    let reader = node(&server, &truth, Some(OURS)).await?;
    for key in [None, Some(THEIRS)] {
        let values = forged(&server, key).await?;
        plant(&client(&server).await?, values).await?;
        assert_eq!(both(&reader).await, ["one", "two"], "{key:?}");
        let (entries, hints) = reader.larder.seal_refusals();
        assert!(
            entries > 0 && hints == 0,
            "{entries} entries, {hints} hints"
        );
        // What is there now is ours again.
        assert_eq!(read(&reader, "1").await, ("one".to_owned(), Origin::L2));
    }
    Ok(())
}

#[tokio::test]
async fn a_value_under_another_name_or_changed_in_one_bit_is_never_answered() -> Result<()> {
    let server = redis::start()?;
    let (truth, remote) = (database(["one", "two"]), client(&server).await?);
    let reader = node(&server, &truth, Some(OURS)).await?;
    both(&reader).await;
    let [one, two] = stored(&remote).await?;
    plant(&remote, [two.clone(), one.clone()]).await?;
    assert_eq!(both(&reader).await, ["one", "two"]);
    for bit in 0..one.len() * 8 {
        let mut changed = one.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        plant(&remote, [changed.into(), two.clone()]).await?;
        assert_eq!(read(&reader, "1").await.0, "one", "bit {bit}");
    }
    Ok(())
}

#[tokio::test]
async fn an_old_value_that_is_put_back_is_refused_by_its_label() -> Result<()> {
    let server = redis::start()?;
    let (truth, remote) = (database(["old", "two"]), client(&server).await?);
    let reader = node(&server, &truth, Some(OURS)).await?;
    both(&reader).await;
    let old = stored(&remote).await?;
    let written = truth.put("1", Some(("a", "new")));
    // From here on this process knows of the write; until then it is bound by Δ as ever.
    reader.source.wrote(written).await;
    for _ in 0..5 {
        plant(&remote, old.clone()).await?;
        assert_eq!(both(&reader).await, ["new", "two"]);
    }
    // Somebody who starts later has its first round, and so the newest label, before it answers.
    let late = node(&server, &truth, Some(OURS)).await?;
    plant(&remote, old).await?;
    assert_eq!(both(&late).await, ["new", "two"]);
    Ok(())
}

/// Reads until this process knows what was written, however it heard.
async fn comes_to_know(node: &Node, id: &str, wanted: &str) -> Result<()> {
    wait_until("news of a write", LONG, async || {
        let answer = node.rows.get(&row(id), &Read::bounded()).await;
        answer.is_ok_and(|answer| text(&answer) == wanted)
    })
    .await
}

#[tokio::test]
async fn forged_hints_are_dropped_and_counted() -> Result<()> {
    let server = redis::start()?;
    let truth = database(["one", "two"]);
    let reader = node(&server, &truth, Some(OURS)).await?;
    let ours = node(&server, &truth, Some(OURS)).await?;
    let dropped = || reader.source.stats().hints_malformed;
    let applied = || reader.source.stats().hints_applied + reader.source.stats().hints_known;
    assert_eq!(dropped(), 0);
    for key in [None, Some(THEIRS)] {
        let before = dropped();
        let forger = node(&server, &truth, key).await?;
        wait_until("a forged hint that arrived", LONG, async || {
            forger.source.wrote(truth.put("2", Some(("a", "x")))).await;
            dropped() > before
        })
        .await?;
    }
    assert_eq!(applied(), 0, "a forged hint was heeded");
    assert_eq!(reader.larder.seal_refusals(), (0, dropped()));
    wait_until("a hint of ours", LONG, async || {
        ours.source.wrote(truth.put("1", Some(("a", "new")))).await;
        applied() > 0
    })
    .await?;
    comes_to_know(&reader, "1", "new").await
}

#[tokio::test]
async fn while_a_key_is_replaced_old_and_new_processes_stay_right() -> Result<()> {
    let server = redis::start()?;
    let truth = database(["0", "two"]);
    let old = node(&server, &truth, Some(OURS)).await?;
    let new = node(&server, &truth, Some(THEIRS)).await?;
    for turn in 1..=4 {
        let (writer, other) = match turn % 2 {
            0 => (&old, &new),
            _ => (&new, &old),
        };
        let wanted = turn.to_string();
        let token = writer
            .source
            .wrote(truth.put("1", Some(("a", &wanted))))
            .await;
        // A token is honoured at once, hint or none, and without one the next round tells.
        let own = Read::bounded().reflecting([token]);
        assert_eq!(text(&other.answer(&row("1"), &own).await), wanted);
        comes_to_know(other, "1", &wanted).await?;
        assert_eq!(read(writer, "1").await.0, wanted);
    }
    Ok(())
}
