//! Processes that share a database, a remote tier and a clock.

use super::{Database, Loader, Tells, Through, Wanted};
use bytes::Bytes;
use larder::feed::Written;
use larder::remote::Remote as _;
use larder::remote::hub::Hub;
use larder::{Answer, Clock, Key as _, Keyspace, Larder, Policy, Read, Source, Tiers, Token};
use std::sync::Arc;
use std::time::Duration;

/// What the processes of one test share.
pub struct World {
    pub database: Arc<Database>,
    pub hub: Arc<Hub>,
    pub clock: Clock,
    pub policy: Policy,
    pub tells: Tells,
    pub tiers: Tiers,
}

impl World {
    pub fn new() -> Self {
        let clock = Clock::manual();
        Self {
            database: Arc::default(),
            hub: Hub::with(clock.clone(), Default::default()),
            clock,
            policy: Policy {
                jitter: 0.0,
                ..Policy::default()
            },
            tells: Tells::Primary,
            tiers: Tiers::Both,
        }
    }

    /// A process that has taken its first round.
    pub async fn node(&self) -> Node {
        let node = self.booting();
        node.source.prove().await.expect("the database is there");
        node
    }

    /// A process that has not.
    pub fn booting(&self) -> Node {
        let larder = Larder::builder(self.hub.clone())
            .clock(self.clock.clone())
            .tiers(self.tiers)
            .build();
        let source = larder
            .source("rows")
            .feed(self.database.clone())
            .poll_by_hand()
            .open();
        self.open(larder, source)
    }

    /// A process that polls its source.
    pub async fn polling(&self) -> Node {
        let larder = Larder::builder(self.hub.clone())
            .clock(self.clock.clone())
            .tiers(self.tiers)
            .build();
        let source = larder.source("rows").feed(self.database.clone()).open();
        let node = self.open(larder, source);
        until(|| node.source.is_proven()).await;
        node
    }

    /// A process whose source has no feed.
    pub fn without_feed(&self) -> Node {
        let larder = Larder::builder(self.hub.clone())
            .clock(self.clock.clone())
            .tiers(self.tiers)
            .build();
        let source = larder.source("rows").open();
        self.open(larder, source)
    }

    fn open(&self, larder: Larder, source: Source) -> Node {
        let loader = Loader::new(&self.database, self.tells);
        let rows = source
            .keyspace("rows", Through(loader.clone()))
            .policy(self.policy.clone())
            .open()
            .expect("a good policy");
        Node {
            larder,
            source,
            rows,
            loader,
        }
    }

    /// Waits until the remote tier holds this key's value.
    pub async fn stored(&self, key: &Wanted) {
        let mut text = String::from("larder:v1:rows:");
        key.write(&mut text);
        let names = [text];
        for _ in 0..10_000 {
            let values = self.hub.get(&names).await.expect("the hub works");
            if values[0].is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("nothing was stored");
    }

    pub fn pass(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }
}

pub struct Node {
    pub larder: Larder,
    pub source: Source,
    pub rows: Keyspace<Wanted, Bytes>,
    pub loader: Arc<Loader>,
}

pub fn text(answer: &Answer<Bytes>) -> String {
    let value = answer
        .value()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    value.unwrap_or_else(|| "absent".into())
}

/// What its writer gets for it.
pub fn token_of(node: &Node, written: &Written) -> Token {
    let source = larder::Tag::of("source", node.source.name()).0;
    Token {
        source,
        epoch: written.epoch,
        xid: written.xid,
        touched: 0,
    }
}

impl Node {
    pub async fn get(&self, key: &Wanted) -> String {
        text(&self.answer(key, &Read::bounded()).await)
    }

    pub async fn answer(&self, key: &Wanted, read: &Read) -> Answer<Bytes> {
        self.rows.get(key, read).await.expect("an answer")
    }

    pub async fn prove(&self) {
        self.source.prove().await.expect("the database is there");
    }

    /// Begins a read that will be held in its loader, and returns once it has read.
    pub async fn held(&self, key: &Wanted) -> tokio::task::JoinHandle<String> {
        self.loader.hold();
        let (rows, key) = (self.rows.clone(), key.clone());
        let read = tokio::spawn(async move {
            text(&rows.get(&key, &Read::bounded()).await.expect("an answer"))
        });
        self.loader.has_read.notified().await;
        read
    }

    /// Waits until what this process stores behind its answers is stored.
    pub async fn settled(&self) {
        until(|| self.larder.is_settled()).await;
    }

    /// Waits until hints that were sent have been heeded here: until the count of all that
    /// became of hints reaches `count`.
    pub async fn heard(&self, count: u64) {
        until(|| {
            let stats = self.source.stats();
            stats.hints_applied + stats.hints_known + stats.hints_foreign >= count
        })
        .await;
    }
}

/// Waits for a state of affairs, for at most ten seconds.
pub async fn until(mut reached: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if reached() {
            return;
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the awaited state did not come");
}
