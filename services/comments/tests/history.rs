//! Random histories: whoever writes, and however, what is cached is what the database has.

use anyhow::Result;
use larder::remote::hub::Hub;
use larder::stats::Outcome;
use larder::{Keyspace, Larder, Read, Value};
use larder_comments::Comments;
use larder_comments::caching::Keyspaces;
use larder_comments::listing::Page;
use larder_comments::model::{AuthorId, Change, CommentId, Draft, ProductId};
use larder_comments::store::{Refused, Store};
use larder_host::trial::Home;
use larder_host::{Base, Opening, Parts};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::fmt::Debug;

/// What all of this is about; few, so that things meet.
const IDS: [&str; 5] = ["a", "b", "b-1", "c", "d"];
const PRODUCTS: [&str; 3] = ["kettle", "pot", "pan"];
const AUTHORS: [&str; 2] = ["ada", "bob"];

#[derive(Clone, Debug)]
enum Step {
    Create(usize, usize, usize),
    Update(usize, String),
    Delete(usize),
    /// By hand, without a word to anybody.
    Move(usize, usize),
    Sign(usize, usize),
    /// In time: its place in the list.
    Age(usize, i64),
    Rename(usize, usize),
    Remove(usize),
    MoveAll(usize, usize),
    /// A write that is taken back.
    RolledBack(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (id, product, author) = (0..IDS.len(), 0..PRODUCTS.len(), 0..AUTHORS.len());
    let two = (id.clone(), product.clone());
    prop_oneof![
        4 => (id.clone(), product.clone(), author.clone())
            .prop_map(|(id, product, author)| Step::Create(id, product, author)),
        1 => (id.clone(), "[a-c]").prop_map(|(id, body)| Step::Update(id, body)),
        1 => id.clone().prop_map(Step::Delete),
        2 => two.clone().prop_map(|(id, product)| Step::Move(id, product)),
        1 => (id.clone(), author).prop_map(|(id, author)| Step::Sign(id, author)),
        2 => (id.clone(), 0..3_i64).prop_map(|(id, time)| Step::Age(id, time)),
        1 => (id.clone(), id.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => id.prop_map(Step::Remove),
        1 => (product.clone(), product).prop_map(|(from, to)| Step::MoveAll(from, to)),
        1 => two.prop_map(|(id, product)| Step::RolledBack(id, product)),
    ]
}

/// A process that asks the feed when it is told to.
struct Process {
    base: Base,
    store: Store,
    keyspaces: Keyspaces,
    larder: Larder,
}

impl Process {
    async fn open(parts: &Parts) -> Result<Self> {
        let opening = Opening::of(parts);
        let base = Base::open(&Comments::detached(), &opening).await?;
        let store = Store::new(base.journal());
        let keyspaces = Keyspaces::open(&base, &store)?;
        base.source().prove().await?;
        let larder = opening.larder;
        Ok(Self {
            base,
            store,
            keyspaces,
            larder,
        })
    }

    /// Everything that can be asked of the service, cached and fresh.
    async fn compare(&self) -> Result<()> {
        for id in IDS {
            compare(&self.keyspaces.comments, &comment(id)).await?;
        }
        for product in PRODUCTS {
            for before in [
                None,
                Some((1, "b".to_owned())),
                Some((i64::MAX, "a".to_owned())),
            ] {
                for size in [1, 3] {
                    let page = Page {
                        product: ProductId::read(product).expect("an id"),
                        size,
                        before: before.clone(),
                    };
                    compare(&self.keyspaces.list, &page).await?;
                }
            }
        }
        Ok(())
    }
}

async fn compare<K: larder::Key + Debug, V: Value + PartialEq + Debug>(
    keyspace: &Keyspace<K, V>,
    key: &K,
) -> Result<()> {
    let cached = keyspace.get(key, &Read::bounded()).await?;
    let fresh = keyspace.get(key, &Read::strong()).await?;
    assert_eq!(
        cached.value(),
        fresh.value(),
        "{key:?} from {:?}",
        cached.origin
    );
    Ok(())
}

fn comment(id: &str) -> CommentId {
    CommentId::read(id).expect("an id")
}

async fn perform(process: &Process, step: &Step) -> Result<()> {
    let store = &process.store;
    let (id, done) = match step {
        Step::Create(id, product, author) => {
            let draft = Draft {
                id: comment(IDS[*id]),
                product: ProductId::read(PRODUCTS[*product]).expect("an id"),
                author: AuthorId::read(AUTHORS[*author]).expect("an id"),
                body: "made".to_owned(),
            };
            (id, store.create(&draft).await)
        }
        Step::Update(id, body) => {
            let change = Change {
                id: comment(IDS[*id]),
                body: Some(body.clone()),
                expected_version: None,
            };
            (id, store.update(&change).await)
        }
        Step::Delete(id) => (id, store.delete(&comment(IDS[*id]), None).await),
        _ => return by_hand(process, step).await,
    };
    match done {
        Ok((_, written)) => {
            let keys = [comment(IDS[*id])];
            process.keyspaces.comments.wrote(&keys, written).await;
        }
        Err(Refused::Exists | Refused::Missing | Refused::Version { .. }) => {}
        Err(Refused::Database(error)) => return Err(error.into()),
    }
    Ok(())
}

async fn by_hand(process: &Process, step: &Step) -> Result<()> {
    use larder_db::args;
    let mut tx = process.base.journal().database().begin_write().await?;
    let moves = "UPDATE comments SET product_id = $2 WHERE id = $1";
    let (sql, arguments) = match *step {
        Step::Move(id, to) | Step::RolledBack(id, to) => (moves, args![IDS[id], PRODUCTS[to]]),
        Step::Sign(id, author) => (
            "UPDATE comments SET author_id = $2 WHERE id = $1",
            args![IDS[id], AUTHORS[author]],
        ),
        Step::Age(id, time) => (
            "UPDATE comments SET created_at = $2 WHERE id = $1",
            args![IDS[id], time],
        ),
        Step::Rename(from, to) => (
            "UPDATE comments SET id = $2 WHERE id = $1",
            args![IDS[from], IDS[to]],
        ),
        Step::Remove(id) => ("DELETE FROM comments WHERE id = $1", args![IDS[id]]),
        Step::MoveAll(from, to) => {
            let all = "UPDATE comments SET product_id = $2 WHERE product_id = $1";
            (all, args![PRODUCTS[from], PRODUCTS[to]])
        }
        _ => unreachable!("the others are the store's"),
    };
    match tx.execute(sql, arguments).await {
        Ok(_) if matches!(step, Step::RolledBack(..)) => tx.rollback().await?,
        Ok(_) => tx.commit().await?,
        // Renamed to an id that is taken.
        Err(larder_db::Error::Unique { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Two processes write in turn; after each step both ask the feed, and all that they hold is
/// compared with the database.
async fn replay(here: &Process, there: &Process, steps: &[Step]) -> Result<()> {
    for (number, step) in steps.iter().enumerate() {
        let writer = if number % 2 == 0 { here } else { there };
        perform(writer, step).await?;
        for process in [here, there] {
            process.base.source().prove().await?;
            process.compare().await?;
        }
    }
    Ok(())
}

fn random_histories(home: &Home, cases: u32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let hub = Hub::new();
    let mut parts = home.parts(&hub);
    parts.timing.poll = None;
    let [here, there] = runtime.block_on(async {
        anyhow::Ok([Process::open(&parts).await?, Process::open(&parts).await?])
    })?;
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config).run(&prop::collection::vec(step(), 1..12), |steps| {
        let replayed = runtime.block_on(replay(&here, &there, &steps));
        replayed.map_err(|error| TestCaseError::fail(format!("{error:#}")))
    })?;
    // One that always asks the database would pass as well.
    for stats in [here.keyspaces.comments.stats(), here.keyspaces.list.stats()] {
        let cached = stats.reads(Outcome::L1) + stats.reads(Outcome::L2);
        assert!(cached > 0, "nothing was ever served from the cache");
    }
    runtime.block_on(async {
        here.larder.close(larder_host::trial::SOON).await;
        there.larder.close(larder_host::trial::SOON).await;
    });
    Ok(())
}

#[test]
fn a_random_history_leaves_every_copy_as_the_database_has_it_on_sqlite() -> Result<()> {
    random_histories(&Home::sqlite()?, 24)
}

#[test]
fn a_random_history_leaves_every_copy_as_the_database_has_it_on_postgres() -> Result<()> {
    random_histories(&Home::postgres()?, 24)
}
