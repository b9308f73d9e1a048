//! Random histories: whoever writes, and however, what is cached is what the database has.

use anyhow::Result;
use larder::remote::hub::Hub;
use larder::stats::Outcome;
use larder::{Keyspace, Larder, Read, Source, Value};
use larder_host::trial::Home;
use larder_host::{Base, Opening, Parts};
use larder_profiles::Profiles;
use larder_profiles::caching::{Keyspaces, Page};
use larder_profiles::model::{Change, Content, Draft, ProfileId};
use larder_profiles::store::{Refused, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::fmt::Debug;

/// Ids that all of this is about; few, so that things meet.
const IDS: [&str; 5] = ["a", "b", "b-1", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    Create(usize, i64),
    Update(usize, Option<i64>, Option<u64>),
    Delete(usize),
    /// By hand, without a word to anybody.
    Set(usize, i64),
    Remove(usize),
    Rename(usize, usize),
    All(i64),
    /// A write that is taken back.
    RolledBack(usize, i64),
}

fn step() -> impl Strategy<Value = Step> {
    let (id, number) = (0..IDS.len(), 0..3_i64);
    prop_oneof![
        3 => (id.clone(), number.clone()).prop_map(|(id, n)| Step::Create(id, n)),
        2 => (id.clone(), prop::option::of(number.clone()), prop::option::of(1..4_u64))
            .prop_map(|(id, n, version)| Step::Update(id, n, version)),
        1 => id.clone().prop_map(Step::Delete),
        1 => (id.clone(), number.clone()).prop_map(|(id, n)| Step::Set(id, n)),
        1 => id.clone().prop_map(Step::Remove),
        1 => (id.clone(), id.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => number.clone().prop_map(Step::All),
        1 => (id, number).prop_map(|(id, n)| Step::RolledBack(id, n)),
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
        let base = Base::open(&Profiles, &opening).await?;
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
            let id = ProfileId::read(id).expect("an id");
            compare(&self.keyspaces.profiles, &id).await?;
        }
        for size in [1, 2, 10] {
            compare(&self.keyspaces.list, &Page { size, after: None }).await?;
            for after in IDS {
                let after = ProfileId::read(after);
                compare(&self.keyspaces.list, &Page { size, after }).await?;
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
    let id = |index: usize| ProfileId::read(IDS[index]).expect("an id");
    let profiles = &process.keyspaces.profiles;
    let (key, done) = match *step {
        Step::Create(index, followers) => {
            let content = Content {
                display_name: "made".into(),
                followers,
                ..Content::default()
            };
            (
                id(index),
                process
                    .store
                    .create(&Draft {
                        id: id(index),
                        content,
                    })
                    .await,
            )
        }
        Step::Update(index, followers, expected_version) => {
            let change = Change {
                id: id(index),
                display_name: Some("changed".into()),
                bio: None,
                avatar_url: None,
                followers,
                expected_version,
            };
            (id(index), process.store.update(&change).await)
        }
        Step::Delete(index) => (id(index), process.store.delete(&id(index), None).await),
        _ => return by_hand(process, step).await,
    };
    match done {
        Ok((_, written)) => drop(profiles.wrote(&[key], written).await),
        Err(Refused::Exists | Refused::Missing | Refused::Version { .. }) => {}
        Err(Refused::Database(error)) => return Err(error.into()),
    }
    Ok(())
}

async fn by_hand(process: &Process, step: &Step) -> Result<()> {
    use larder_db::args;
    let mut tx = process.store.database().begin_write().await?;
    let set = "UPDATE profiles SET followers = $2 WHERE id = $1";
    let done = match *step {
        Step::Set(id, n) | Step::RolledBack(id, n) => tx.execute(set, args![IDS[id], n]).await,
        Step::Remove(id) => {
            tx.execute("DELETE FROM profiles WHERE id = $1", args![IDS[id]])
                .await
        }
        Step::Rename(from, to) => {
            let rename = "UPDATE profiles SET id = $2 WHERE id = $1";
            tx.execute(rename, args![IDS[from], IDS[to]]).await
        }
        Step::All(n) => {
            tx.execute("UPDATE profiles SET followers = $1", args![n])
                .await
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
    for stats in [here.keyspaces.profiles.stats(), here.keyspaces.list.stats()] {
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
