//! Random histories: whoever writes orders, and however, a cached report is what the database says.
//! And with the clock under control: what becomes of reports with time.

use anyhow::Result;
use larder::remote::hub::Hub;
use larder::stats::Outcome;
use larder::{Clock, Key, Keyspace, Larder, Origin, Read, Source, Target, Value};
use larder_db::args;
use larder_host::trial::{Home, SOON};
use larder_host::{Base, Opening, on_both};
use larder_proto::reports::v1 as wire;
use larder_reports::caching::{Keyspaces, Whole};
use larder_reports::model::Order;
use larder_reports::region::Region;
use larder_reports::report::{CustomerValue, Sales, TopProducts};
use larder_reports::scope::BY_HAND;
use larder_reports::store::Store;
use larder_reports::warm::{Schedule, warm};
use larder_reports::{Reports, sample};
use larder_testkit::wait_until;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Moments and regions that all of this is about; few, so that things meet. The moments lie in
/// three months of two years.
const MOMENTS: [&str; 5] = [
    "2025-12-31T23:59:59.999999Z",
    "2026-01-01T00:00:00Z",
    "2026-01-20T12:00:00Z",
    "2026-02-01T00:00:00Z",
    "2026-02-28T23:59:59Z",
];
const REGIONS: [&str; 2] = ["north", "south"];

fn moment(index: usize) -> i64 {
    let moment: jiff::Timestamp = MOMENTS[index].parse().expect("a moment");
    moment.as_microsecond()
}

#[derive(Clone, Debug)]
enum Step {
    /// Orders: id, moment, region, who bought what.
    Record(Vec<(u32, usize, usize, usize)>),
    /// By hand, without a word to anybody.
    Insert(u32, usize, usize),
    MoveInTime(u32, usize),
    MoveTo(u32, usize),
    Mend(u32, i64),
    Delete(u32),
    Empty(usize),
    Rename(u32, u32),
    /// A write that is taken back.
    RolledBack(u32, usize),
    DropRegion(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0..8_u32;
    let at = || 0..MOMENTS.len();
    let region = || 0..REGIONS.len();
    prop_oneof![
        6 => prop::collection::vec((id(), at(), region(), 0..4_usize), 1..5).prop_map(Step::Record),
        2 => (id(), at(), region()).prop_map(|(id, at, region)| Step::Insert(id, at, region)),
        2 => (id(), at()).prop_map(|(id, at)| Step::MoveInTime(id, at)),
        2 => (id(), region()).prop_map(|(id, region)| Step::MoveTo(id, region)),
        1 => (id(), 1..9_i64).prop_map(|(id, quantity)| Step::Mend(id, quantity)),
        1 => id().prop_map(Step::Delete),
        1 => region().prop_map(Step::Empty),
        1 => (id(), id()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => (id(), region()).prop_map(|(id, region)| Step::RolledBack(id, region)),
        1 => region().prop_map(Step::DropRegion),
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
    async fn open(home: &Home, hub: &Arc<Hub>, clock: Clock) -> Result<Self> {
        let mut parts = home.parts(hub);
        parts.timing.poll = None;
        let mut opening = Opening::of(&parts);
        opening.larder = Larder::builder(hub.clone()).clock(clock).build();
        let base = Base::open(&Reports::detached(), &opening).await?;
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

    /// Reports of all shapes, cached and fresh.
    async fn compare(&self) -> Result<()> {
        for (first, last) in [
            ("2025-12-01", "2025-12-31"),
            ("2025-12-31", "2026-01-01"),
            ("2026-01-02", "2026-02-27"),
            ("2020-01-01", "2026-12-31"),
        ] {
            for regions in ["all", "north", "north+south"] {
                let scope = format!("1/{first}/{last}/{regions}");
                for bucket in ["day", "week", "month"] {
                    let key = Sales::parse(&format!("{scope}/{bucket}")).expect("a key");
                    compare(&self.keyspaces.sales, &key, sold).await?;
                }
                for order in ["revenue", "units"] {
                    let key = TopProducts::parse(&format!("{scope}/{order}")).expect("a key");
                    compare(&self.keyspaces.top_products, &key, ranked).await?;
                }
                let key = CustomerValue::parse(&scope).expect("a key");
                compare(&self.keyspaces.customer_value, &key, valued).await?;
            }
        }
        Ok(())
    }

    fn loads(&self) -> u64 {
        let Keyspaces {
            sales,
            top_products,
            customer_value,
        } = &self.keyspaces;
        let loads = [sales.stats(), top_products.stats(), customer_value.stats()];
        let loads = loads
            .iter()
            .map(|stats| stats.load_buckets.iter().sum::<u64>());
        loads.sum()
    }
}

/// Reports without the moment at which they were computed.
fn sold(report: &bytes::Bytes) -> String {
    let report = wire::GetSalesReportResponse::decode(report.clone()).expect("a report");
    format!("{:?} {:?}", report.periods, report.total)
}

fn ranked(report: &Whole<wire::GetTopProductsResponse>) -> String {
    format!("{:?}", report.message.products)
}

fn valued(report: &Whole<wire::GetCustomerValueResponse>) -> String {
    let report = &report.message;
    let totals = (report.customer_count, report.revenue_cents);
    format!("{totals:?} {:?}", report.customers)
}

async fn compare<K: Key, V: Value>(
    keyspace: &Keyspace<K, V>,
    key: &K,
    shown: impl Fn(&V) -> String,
) -> Result<()> {
    let cached = keyspace.get(key, &Read::bounded()).await?;
    let fresh = keyspace.get(key, &Read::strong()).await?;
    let both = [&cached, &fresh].map(|answer| answer.value().map(&shown));
    assert_eq!(both[0], both[1], "from {:?}", cached.origin);
    Ok(())
}

fn order((id, at, region, sold): (u32, usize, usize, usize)) -> Order {
    let order = wire::Order {
        id: format!("o-{id}"),
        customer_id: ["ada", "bob"][sold % 2].to_owned(),
        product_id: ["cup", "kettle"][sold / 2].to_owned(),
        region: REGIONS[region].to_owned(),
        ordered_at: Some(larder_reports::model::timestamp(moment(at))),
        quantity: 1 + i64::from(id),
        price_cents: 100,
    };
    Order::check(&order).expect("an order")
}

async fn perform(process: &Process, step: &Step) -> Result<()> {
    match step {
        Step::Record(orders) => {
            let orders: Vec<Order> = orders.iter().copied().map(order).collect();
            let (_, written) = process.store.record(&orders).await?;
            if let Some(written) = written {
                process.source.wrote(written).await;
            }
            Ok(())
        }
        Step::DropRegion(region) => {
            let tag = Target::Tag(BY_HAND, REGIONS[*region]);
            process.keyspaces.sales.invalidate(tag).await?;
            Ok(())
        }
        _ => by_hand(process, step).await,
    }
}

async fn by_hand(process: &Process, step: &Step) -> Result<()> {
    let mut tx = process.store.database().begin_write().await?;
    let id = |id: &u32| format!("o-{id}");
    let to = "UPDATE orders SET region = $2 WHERE id = $1";
    let done = match step {
        Step::Insert(n, at, region) => {
            let insert = "INSERT INTO orders (id, customer_id, product_id, region, ordered_at, \
                          quantity, price_cents) VALUES ($1, 'eve', 'cup', $2, $3, 1, 50)";
            tx.execute(insert, args![&id(n), REGIONS[*region], moment(*at)])
                .await
        }
        Step::MoveInTime(n, at) => {
            let later = "UPDATE orders SET ordered_at = $2 WHERE id = $1";
            tx.execute(later, args![&id(n), moment(*at)]).await
        }
        Step::MoveTo(n, region) | Step::RolledBack(n, region) => {
            tx.execute(to, args![&id(n), REGIONS[*region]]).await
        }
        Step::Mend(n, quantity) => {
            let mend = "UPDATE orders SET quantity = $2 WHERE id = $1";
            tx.execute(mend, args![&id(n), *quantity]).await
        }
        Step::Delete(n) => {
            tx.execute("DELETE FROM orders WHERE id = $1", args![&id(n)])
                .await
        }
        Step::Empty(region) => {
            let empty = "DELETE FROM orders WHERE region = $1";
            tx.execute(empty, args![REGIONS[*region]]).await
        }
        Step::Rename(from, to) => {
            let rename = "UPDATE orders SET id = $2 WHERE id = $1";
            tx.execute(rename, args![&id(from), &id(to)]).await
        }
        Step::Record(_) | Step::DropRegion(_) => unreachable!("the others are the service's"),
    };
    match done {
        Ok(_) if matches!(step, Step::RolledBack(..)) => tx.rollback().await?,
        Ok(_) => tx.commit().await?,
        // An id that is taken.
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
    let [here, there] = runtime.block_on(async {
        let open = || Process::open(home, &hub, Clock::machine());
        Ok::<_, anyhow::Error>([open().await?, open().await?])
    })?;
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    runner.run(&prop::collection::vec(step(), 1..8), |steps| {
        let replayed = runtime.block_on(replay(&here, &there, &steps));
        replayed.map_err(|error| TestCaseError::fail(format!("{error:#}")))
    })?;
    // One that always asks the database would pass as well.
    for stats in [
        here.keyspaces.sales.stats(),
        there.keyspaces.customer_value.stats(),
    ] {
        let cached = stats.reads(Outcome::L1) + stats.reads(Outcome::L2);
        assert!(cached > 0, "nothing was ever served from the cache");
    }
    runtime.block_on(async {
        here.larder.close(SOON).await;
        there.larder.close(SOON).await;
    });
    Ok(())
}

#[test]
fn a_random_history_leaves_every_report_as_the_database_has_it_on_sqlite() -> Result<()> {
    random_histories(&Home::sqlite()?, 8)
}

#[test]
fn a_random_history_leaves_every_report_as_the_database_has_it_on_postgres() -> Result<()> {
    random_histories(&Home::postgres()?, 8)
}

on_both!(
    a_soft_expired_report_is_answered_at_once_and_computed_by_one_replica,
    each_standard_report_is_computed_by_one_of_two_replicas,
    the_schedule_warms_when_its_time_comes,
);

async fn a_soft_expired_report_is_answered_at_once_and_computed_by_one_replica(
    home: Home,
) -> Result<()> {
    let clock = Clock::manual();
    let hub = Hub::with(clock.clone(), Default::default());
    let open = || Process::open(&home, &hub, clock.clone());
    let both = [open().await?, open().await?];
    let key = Sales::parse("1/2026-01-01/2026-01-31/all/day").expect("a key");
    let ask = async |process: &Process| {
        let read = Read::within(Duration::from_secs(86_400));
        process.keyspaces.sales.get(&key, &read).await
    };
    let settled = async || {
        let quiet = async || both.iter().all(|process| process.larder.is_settled());
        wait_until("what goes on behind the answers", SOON, quiet).await
    };
    for process in &both {
        ask(process).await?;
        settled().await?;
    }
    let loads = || both[0].loads() + both[1].loads();
    assert_eq!(loads(), 1);
    // Past the soft TTL, which its jitter only shortens; before the hard one.
    clock.advance(Duration::from_secs(31 * 60));
    for process in &both {
        process.source.prove().await?;
    }
    for process in &both {
        assert_eq!(ask(process).await?.origin, Origin::L1, "at once");
    }
    settled().await?;
    assert_eq!(loads(), 2, "one of the two has computed it");
    clock.advance(Duration::from_secs(20 * 60));
    for process in &both {
        process.source.prove().await?;
        assert_eq!(ask(process).await?.origin, Origin::L1);
    }
    settled().await?;
    assert_eq!(loads(), 2, "and both have it");
    // Nobody asked for an hour: nothing is answered from memory.
    clock.advance(Duration::from_secs(61 * 60));
    for process in &both {
        process.source.prove().await?;
        assert_ne!(ask(process).await?.origin, Origin::L1);
        settled().await?;
    }
    assert_eq!(loads(), 3);
    Ok(())
}

/// All regions and each of them, three reports each.
const STANDARD: u64 = 3 * (1 + Region::ALL.len() as u64);

async fn each_standard_report_is_computed_by_one_of_two_replicas(home: Home) -> Result<()> {
    let hub = Hub::new();
    let open = || Process::open(&home, &hub, Clock::manual());
    let (here, there) = (open().await?, open().await?);
    let spread = (20, 50);
    let opening = Opening::of(&home.parts(&hub));
    let journal = opening.journal(&Reports::detached()).await?;
    sample::load(&journal, 1_000, spread, 1, |_| {}).await?;
    for process in [&here, &there] {
        process.source.prove().await?;
    }
    let day = jiff::civil::date(2026, 7, 1);
    let (one, two) = tokio::join!(warm(&here.keyspaces, day), warm(&there.keyspaces, day));
    assert_eq!((one as u64, two as u64), (STANDARD, STANDARD));
    assert_eq!(here.loads() + there.loads(), STANDARD);
    // Both have them in memory now.
    let key = TopProducts::parse("1/2026-06-01/2026-06-30/west/revenue").expect("a key");
    for process in [&here, &there] {
        let answer = process.keyspaces.top_products.peek(&key, &Read::bounded());
        assert!(answer.is_some());
    }
    Ok(())
}

async fn the_schedule_warms_when_its_time_comes(home: Home) -> Result<()> {
    let process = Process::open(&home, &Hub::new(), Clock::manual()).await?;
    let schedule: Schedule = "03:00".parse()?;
    let (began, at) = (
        Instant::now(),
        jiff::civil::datetime(2026, 7, 1, 2, 59, 59, 900_000_000),
    );
    let now = move || at + began.elapsed();
    let following = tokio::spawn(schedule.follow(process.keyspaces.clone(), now));
    let warmed = async || process.loads() == STANDARD;
    wait_until("the reports of June", SOON, warmed).await?;
    let key = Sales::parse("1/2026-06-01/2026-06-30/all/day").expect("a key");
    let known = async || {
        process
            .keyspaces
            .sales
            .peek(&key, &Read::bounded())
            .is_some()
    };
    wait_until("June's sales", SOON, known).await?;
    following.abort();
    Ok(())
}
