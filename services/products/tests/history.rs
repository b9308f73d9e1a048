//! Random histories: whoever writes, and however, what is cached is what the database has.

use anyhow::Result;
use larder::remote::hub::Hub;
use larder::stats::Outcome;
use larder::{Keyspace, Larder, Read, Source, Value};
use larder_host::trial::Home;
use larder_host::{Base, Opening, Parts};
use larder_products::Products;
use larder_products::caching::Keyspaces;
use larder_products::catalogue::Names;
use larder_products::listing::{Listing, Order};
use larder_products::model::{Change, Content, Draft, ProductId};
use larder_products::store::{Refused, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::fmt::Debug;

/// Ids and categories that all of this is about; few, so that things meet.
const IDS: [&str; 5] = ["a", "b", "b-1", "c", "d"];
const CATEGORIES: [&str; 3] = ["", "tea", "tools"];

#[derive(Clone, Debug)]
enum Step {
    /// In a category, at a price.
    Create(usize, usize, i64),
    Move(usize, usize),
    Price(usize, i64, Option<u64>),
    Delete(usize),
    /// By hand, without a word to anybody.
    Sell(usize),
    MoveByHand(usize, usize),
    Remove(usize),
    Rename(usize, usize),
    EmptyCategory(usize, usize),
    RaisePrices(i64),
    /// A write that is taken back.
    RolledBack(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0..IDS.len();
    let category = || 0..CATEGORIES.len();
    let price = || 0..4_i64;
    prop_oneof![
        4 => (id(), category(), price()).prop_map(|(id, c, price)| Step::Create(id, c, price)),
        2 => (id(), category()).prop_map(|(id, c)| Step::Move(id, c)),
        2 => (id(), price(), prop::option::of(1..4_u64)).prop_map(|(id, p, v)| Step::Price(id, p, v)),
        1 => id().prop_map(Step::Delete),
        1 => id().prop_map(Step::Sell),
        1 => (id(), category()).prop_map(|(id, c)| Step::MoveByHand(id, c)),
        1 => id().prop_map(Step::Remove),
        1 => (id(), id()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => (category(), category()).prop_map(|(from, to)| Step::EmptyCategory(from, to)),
        1 => price().prop_map(Step::RaisePrices),
        1 => (id(), category()).prop_map(|(id, c)| Step::RolledBack(id, c)),
    ]
}

/// A process that asks the feed when it is told to.
struct Process {
    source: Source,
    store: Store,
    keyspaces: Keyspaces,
    larder: Larder,
}

impl Process {
    async fn open(parts: &Parts) -> Result<Self> {
        let opening = Opening::of(parts);
        let base = Base::open(&Products, &opening).await?;
        let store = Store::new(base.journal());
        let keyspaces = Keyspaces::open(base.source(), &store)?;
        let source = base.source().clone();
        source.prove().await?;
        Ok(Self {
            source,
            store,
            keyspaces,
            larder: opening.larder,
        })
    }

    /// Everything that can be asked of the service, cached and fresh.
    async fn compare(&self) -> Result<()> {
        for id in IDS {
            let id = ProductId::read(id).expect("an id");
            compare(&self.keyspaces.products, &id).await?;
        }
        for after in ["", "b", "tea"] {
            for size in [1, 10] {
                let after = after.to_owned();
                let page = Names { size, after };
                compare(&self.keyspaces.categories, &page).await?;
                compare(&self.keyspaces.ids, &page).await?;
            }
        }
        let categories = [None, Some(""), Some("tea"), Some("tools")];
        for category in categories.map(|category| category.map(str::to_owned)) {
            for order in [Order::Cheapest, Order::Dearest] {
                for (size, after) in [
                    (1, None),
                    (10, None),
                    (2, Some((1, "b"))),
                    (3, Some((2, ""))),
                ] {
                    let after = after.and_then(|(price, id)| Some((price, ProductId::read(id)?)));
                    let page = Listing {
                        category: category.clone(),
                        order,
                        size,
                        after,
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

async fn perform(process: &Process, step: &Step) -> Result<()> {
    let id = |index: usize| ProductId::read(IDS[index]).expect("an id");
    let products = &process.keyspaces.products;
    let change = |index: usize| Change {
        id: id(index),
        title: None,
        description: None,
        category: None,
        price_cents: None,
        stock: None,
        expected_version: None,
    };
    let (index, done) = match *step {
        Step::Create(index, category, price_cents) => {
            let (title, category) = ("made".to_owned(), CATEGORIES[category].to_owned());
            let content = Content {
                title,
                category,
                price_cents,
                ..Content::default()
            };
            (
                index,
                process
                    .store
                    .create(&Draft {
                        id: id(index),
                        content,
                    })
                    .await,
            )
        }
        Step::Move(index, category) => {
            let category = Some(CATEGORIES[category].to_owned());
            (
                index,
                process
                    .store
                    .update(&Change {
                        category,
                        ..change(index)
                    })
                    .await,
            )
        }
        Step::Price(index, price, expected_version) => {
            let price_cents = Some(price);
            let change = Change {
                price_cents,
                expected_version,
                ..change(index)
            };
            (index, process.store.update(&change).await)
        }
        Step::Delete(index) => (index, process.store.delete(&id(index), None).await),
        _ => return by_hand(process, step).await,
    };
    let key = id(index);
    match done {
        Ok((_, written)) => drop(products.wrote(&[key], written).await),
        Err(Refused::Exists | Refused::Missing | Refused::Version { .. }) => {}
        Err(Refused::Database(error)) => return Err(error.into()),
    }
    Ok(())
}

async fn by_hand(process: &Process, step: &Step) -> Result<()> {
    use larder_db::args;
    let mut tx = process.store.database().begin_write().await?;
    let moved = "UPDATE products SET category = $2 WHERE id = $1";
    let done = match *step {
        Step::Sell(id) => {
            let sell = "UPDATE products SET stock = stock + 1 WHERE id = $1";
            tx.execute(sell, args![IDS[id]]).await
        }
        Step::MoveByHand(id, category) | Step::RolledBack(id, category) => {
            tx.execute(moved, args![IDS[id], CATEGORIES[category]])
                .await
        }
        Step::Remove(id) => {
            tx.execute("DELETE FROM products WHERE id = $1", args![IDS[id]])
                .await
        }
        Step::Rename(from, to) => {
            let rename = "UPDATE products SET id = $2 WHERE id = $1";
            tx.execute(rename, args![IDS[from], IDS[to]]).await
        }
        Step::EmptyCategory(from, to) => {
            let all = "UPDATE products SET category = $2 WHERE category = $1";
            tx.execute(all, args![CATEGORIES[from], CATEGORIES[to]])
                .await
        }
        Step::RaisePrices(by) => {
            let raise = "UPDATE products SET price_cents = (price_cents + $1) % 4";
            tx.execute(raise, args![by]).await
        }
        _ => unreachable!("the others are the store's"),
    };
    match done {
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
            process.source.prove().await?;
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
        Ok::<_, anyhow::Error>([Process::open(&parts).await?, Process::open(&parts).await?])
    })?;
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    runner.run(&prop::collection::vec(step(), 1..12), |steps| {
        let replayed = runtime.block_on(replay(&here, &there, &steps));
        replayed.map_err(|error| TestCaseError::fail(format!("{error:#}")))
    })?;
    // One that always asks the database would pass as well.
    for stats in [here.keyspaces.products.stats(), here.keyspaces.list.stats()] {
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
fn a_random_history_leaves_every_page_as_the_database_has_it_on_sqlite() -> Result<()> {
    random_histories(&Home::sqlite()?, 24)
}

#[test]
fn a_random_history_leaves_every_page_as_the_database_has_it_on_postgres() -> Result<()> {
    random_histories(&Home::postgres()?, 24)
}
