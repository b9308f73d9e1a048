//! Warm before the crowd comes: what somebody with many followers comments on is about to be asked
//! for by all of them at once.
//!
//! 1. Whoever writes a comment, by whatever way, the table's trigger journals a line of
//!    [`POSTED`](crate::store::POSTED), in the same transaction: no event without its comment, and
//!    no comment without its event.
//! 2. Every replica follows these lines by itself, so that no message between them can be lost.
//! 3. It gets the author's profile, which is in its memory from then on.
//! 4. Where that has enough followers, it makes the first page of the product's comments as
//!    ListComments would: the rows, the names beside them, and the answer rendered from both.
//!
//! The product itself is another service's. A comment does not change its row, so that what is
//! cached of it stays; it is not loaded here. A change or a deletion is journalled as a comment
//! is, and warms what it has just made cold.
//!
//! It is one task, which does one thing after the other: what it has not come to waits in the
//! journal, and of that only the newest is taken. It holds no lock, and loads in its turn behind
//! the same limits as everybody. A process that starts looks at nothing that was written before.

use crate::authors::Authors;
use crate::listing::Page;
use crate::model::{AuthorId, ProductId};
use crate::rpc::Rpc;
use crate::store;
use larder::{Error, Read};
use larder_host::Base;
use larder_journal::Follower;
use larder_runtime::exposition::{Metric, Page as Exposition};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How many followers make a crowd, unless something else is said.
pub const FOLLOWERS: u64 = 10_000;
/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(250);
/// The most comments that are taken at once; of more, the newest.
const MOST: u32 = 256;
/// What a step may take; a crowd is there by then.
const STEP: Duration = Duration::from_secs(5);
/// How often the authors are asked for, with a pause that doubles, before their comments are
/// passed over.
const ATTEMPTS: u32 = 5;

const LOOKS: Metric = Metric::counter("larder_crowd_looks_total", "Looks for new comments.");
const PAGES_WARMED: Metric = Metric::counter(
    "larder_crowd_pages_warmed_total",
    "Pages made before a crowd.",
);
const PAGES_FAILED: Metric = Metric::counter(
    "larder_crowd_pages_failed_total",
    "Pages that could not be made before a crowd.",
);
const COMMENTS_DROPPED: Metric = Metric::counter(
    "larder_crowd_comments_dropped_total",
    "Comments passed over, at least: too many at once, or their authors unknown.",
);

/// What was done, for `/metrics`.
#[derive(Default, Debug)]
pub struct Counts {
    looks: AtomicU64,
    pages: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// For `/metrics`.
    pub fn measure(&self, page: &mut Exposition) {
        for (metric, count) in [
            (LOOKS, &self.looks),
            (PAGES_WARMED, &self.pages),
            (PAGES_FAILED, &self.failed),
            (COMMENTS_DROPPED, &self.dropped),
        ] {
            page.count(metric, &[], count.load(RELAXED));
        }
    }
}

const RELAXED: Ordering = Ordering::Relaxed;

/// A comment: on what, and whose.
type Post = (ProductId, AuthorId);

/// Starts the task, which ends with the process's.
pub(crate) fn start(
    base: &Base,
    rpc: Arc<Rpc>,
    authors: Authors,
    followers: u64,
    counts: Arc<Counts>,
) {
    let crowd = Crowd {
        base: base.clone(),
        rpc,
        authors,
        followers,
        counts,
        posts: Vec::new(),
        attempts: 0,
    };
    let follower = base.journal().follow(store::POSTED, MOST);
    let stopping = base.tasks().stopping().clone();
    base.tasks().spawn("warm before the crowd", async move {
        stopping.run_until_cancelled(crowd.follow(follower)).await;
    });
}

struct Crowd {
    base: Base,
    rpc: Arc<Rpc>,
    authors: Authors,
    followers: u64,
    counts: Arc<Counts>,
    /// Whose authors are still to be asked for, the newest first; never more than [`MOST`].
    posts: Vec<Post>,
    attempts: u32,
}

impl Crowd {
    async fn follow(mut self, mut follower: Follower) {
        loop {
            match follower.look().await {
                Ok(news) => {
                    self.counts.looks.fetch_add(1, RELAXED);
                    self.drop_some(usize::from(news.cut));
                    self.note(news.keys.iter().filter_map(|key| post(key)).collect());
                    self.warm().await;
                }
                // The next look finds what this one would have; that the database is away is said
                // by readiness.
                Err(error) => {
                    tracing::debug!(%error, "new comments could not be looked for");
                }
            }
            sleep(PAUSE * (1 << self.attempts)).await;
        }
    }

    /// Puts new ones before those that wait.
    fn note(&mut self, new: Vec<Post>) {
        let mut known = HashSet::new();
        let waiting = std::mem::take(&mut self.posts);
        let posts = new.into_iter().chain(waiting);
        self.posts = posts.filter(|post| known.insert(post.clone())).collect();
        let over = self.posts.len().saturating_sub(MOST as usize);
        self.posts.truncate(MOST as usize);
        self.drop_some(over);
    }

    async fn warm(&mut self) {
        if self.posts.is_empty() {
            return;
        }
        let products = match self.crowded().await {
            Ok(products) => products,
            Err(error) => {
                tracing::debug!(%error, "the authors of new comments could not be asked for");
                self.attempts += 1;
                if self.attempts == ATTEMPTS {
                    self.drop_some(self.posts.len());
                    self.posts.clear();
                    self.attempts = 0;
                }
                return;
            }
        };
        self.posts.clear();
        self.attempts = 0;
        for product in products {
            let warmed = timeout(STEP, self.warm_page(product)).await;
            let count = match warmed {
                Ok(true) => &self.counts.pages,
                Ok(false) | Err(_) => &self.counts.failed,
            };
            count.fetch_add(1, RELAXED);
        }
    }

    /// The products that a crowd will look at, each once.
    async fn crowded(&self) -> Result<Vec<ProductId>, Error> {
        let mut known = HashSet::new();
        let authors = self.posts.iter().map(|(_, author)| author.clone());
        let authors: Vec<_> = authors
            .filter(|author| known.insert(author.clone()))
            .collect();
        let read = Read {
            deadline: Some(Instant::now() + STEP),
            ..Read::bounded()
        };
        let followers = self.authors.followers(&authors, &read).await?;
        let counted = authors.iter().zip(followers);
        let popular: HashSet<_> = counted
            .filter(|(_, followers)| *followers >= self.followers)
            .map(|(author, _)| author)
            .collect();
        let mut known = HashSet::new();
        let posts = self.posts.iter();
        let products = posts.filter(|(_, author)| popular.contains(author));
        let products = products.map(|(product, _)| product);
        Ok(products
            .filter(|&product| known.insert(product))
            .cloned()
            .collect())
    }

    /// Has the first page of a product's comments in memory, as it is with the new one.
    ///
    /// The look may be ahead of the cache's own rounds. Without the proof, a page from before the
    /// comment would still pass for fresh here, and be gone with the next round.
    /// Test: `a_comment_of_somebody_with_many_followers_is_warm_in_every_replica`.
    async fn warm_page(&self, product: ProductId) -> bool {
        if let Err(error) = self.base.source().prove().await {
            tracing::debug!(%error, "a page could not be warmed");
            return false;
        }
        let page = Page::first(product);
        match self.rpc.render(page, &Read::bounded()).await {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(%error, "a page could not be warmed");
                false
            }
        }
    }

    fn drop_some(&self, count: usize) {
        self.counts.dropped.fetch_add(count as u64, RELAXED);
    }
}

/// What a line tells of: `kettle/ada`. Somebody's line in words may be anything.
fn post(key: &str) -> Option<Post> {
    let (product, author) = key.split_once('/')?;
    Some((ProductId::read(product)?, AuthorId::read(author)?))
}
