//! What every remote tier promises, kept by the hub and by real Redis in each of its forms.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use larder::clock::Clock;
use larder::remote::guard::{self, Guard};
use larder::remote::hub::{self, Faults, Hub};
use larder::remote::{Error, Event, Item, Remote, open};
use larder_testkit::{cluster, redis as server, sentinel, wait_until};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;

const LONG: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

/// A remote tier, and the hands that hurt it.
struct Backend {
    remote: Arc<dyn Remote>,
    hand: Hand,
}

enum Hand {
    Hub(Arc<Hub>, Clock),
    Redis(server::Redis),
    Sentinel(sentinel::Sentinel),
    Cluster(cluster::Cluster),
}

impl Backend {
    fn hub() -> Result<Self> {
        let clock = Clock::manual();
        let hub = Hub::with(clock.clone(), hub::Limits::default());
        Ok(Self {
            remote: hub.clone(),
            hand: Hand::Hub(hub, clock),
        })
    }

    fn redis() -> Result<Self> {
        let server = server::start()?;
        Ok(Self {
            remote: open(&server.url())?,
            hand: Hand::Redis(server),
        })
    }

    fn sentinel() -> Result<Self> {
        // Nothing here wants a failover, and a busy machine must not bring one about.
        let patient = sentinel::Setup::default().down_after(Duration::from_secs(5));
        let servers = patient.start()?;
        Ok(Self {
            remote: open(&servers.url())?,
            hand: Hand::Sentinel(servers),
        })
    }

    /// With reads from primaries: replicas may lag, as `failover.rs` knows.
    fn cluster() -> Result<Self> {
        let servers = cluster::start()?;
        Ok(Self {
            remote: open(&format!("{}?replica_reads=no", servers.url()))?,
            hand: Hand::Cluster(servers),
        })
    }

    fn stop(&self) -> Result<()> {
        let down = Faults {
            down: true,
            ..Faults::default()
        };
        match &self.hand {
            Hand::Hub(hub, _) => hub.set_faults(down),
            Hand::Redis(server) => server.stop()?,
            Hand::Sentinel(servers) => servers.stop()?,
            Hand::Cluster(servers) => servers.stop()?,
        }
        Ok(())
    }

    fn start(&self) -> Result<()> {
        match &self.hand {
            Hand::Hub(hub, _) => hub.set_faults(Faults::default()),
            Hand::Redis(server) => server.restart()?,
            Hand::Sentinel(servers) => servers.restart()?,
            Hand::Cluster(servers) => servers.restart()?,
        }
        Ok(())
    }

    fn pause(&self) -> Result<()> {
        let slow = Faults {
            slow: true,
            ..Faults::default()
        };
        match &self.hand {
            Hand::Hub(hub, _) => hub.set_faults(slow),
            Hand::Redis(server) => server.pause()?,
            Hand::Sentinel(servers) => servers.pause()?,
            Hand::Cluster(servers) => servers.pause()?,
        }
        Ok(())
    }

    fn resume(&self) -> Result<()> {
        match &self.hand {
            Hand::Hub(hub, _) => hub.set_faults(Faults::default()),
            Hand::Redis(server) => server.resume()?,
            Hand::Sentinel(servers) => servers.resume()?,
            Hand::Cluster(servers) => servers.resume()?,
        }
        Ok(())
    }

    /// A hub's time stands still until it is told; that of Redis passes by itself.
    fn advance(&self, span: Duration) {
        if let Hand::Hub(_, clock) = &self.hand {
            clock.advance(span);
        }
    }

    fn server(&self) -> Result<&server::Redis> {
        match &self.hand {
            Hand::Redis(server) => Ok(server),
            _ => anyhow::bail!("only one Redis is one server"),
        }
    }

    async fn works(&self) -> Result<()> {
        let keys = keys(["any"]);
        wait_until("a command that works", LONG, async || {
            self.remote.get(&keys).await.is_ok()
        })
        .await
    }

    /// A subscription that has been told `Up`.
    async fn subscribe(&self, channel: &str) -> Result<Receiver<Event>> {
        let mut events = self.remote.subscribe(channel);
        ensure!(
            next(&mut events).await? == Event::Up,
            "a subscription begins with Up"
        );
        Ok(events)
    }
}

fn keys<const N: usize>(keys: [&str; N]) -> Vec<String> {
    keys.map(str::to_owned).to_vec()
}

fn item(key: &str, value: impl Into<Bytes>, ttl: Duration) -> Item {
    Item {
        key: key.to_owned(),
        value: value.into(),
        ttl,
    }
}

fn message(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn next(events: &mut Receiver<Event>) -> Result<Event> {
    let event = tokio::time::timeout(LONG, events.recv())
        .await
        .context("no event came")?;
    event.context("the subscription ended")
}

async fn wait_for(events: &mut Receiver<Event>, wanted: &Event) -> Result<()> {
    while next(events).await? != *wanted {}
    Ok(())
}

/// Each promise as a test of each backend.
macro_rules! promises {
    ($($promise:ident),* $(,)?) => {
        promises!(hub_keeps_that: hub: $($promise)*);
        promises!(redis_keeps_that: redis: $($promise)*);
        promises!(sentinel_keeps_that: sentinel: $($promise)*);
        promises!(cluster_keeps_that: cluster: $($promise)*);
    };
    ($keeps:ident: $backend:ident: $($promise:ident)*) => {
        mod $keeps {
            $(#[tokio::test] async fn $promise() -> anyhow::Result<()> {
                let backend = super::Backend::$backend()?;
                backend.works().await?;
                super::$promise(backend).await
            })*
        }
    };
}

promises![
    values_come_back_as_they_were,
    values_come_in_the_order_of_their_keys_with_gaps,
    nothing_asked_is_nothing_done,
    a_value_is_gone_after_its_life,
    what_is_set_again_or_removed_is_not_there_any_more,
    a_lock_is_taken_once_until_it_runs_out,
    only_its_owner_opens_a_lock,
    a_message_reaches_each_subscriber_of_its_channel_once,
    a_slow_subscriber_is_told_down_and_up,
    a_subscriber_is_told_down_and_up_around_an_outage,
    commands_fail_in_an_outage_and_work_after_it,
    a_silence_fails_the_guarded_reader_and_ends,
    a_guard_opens_after_failures_and_closes_after_a_success,
    a_failing_kind_of_call_leaves_the_others_alone,
    subscriptions_end_with_the_remote,
];

async fn values_come_back_as_they_were(backend: Backend) -> Result<()> {
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

async fn values_come_in_the_order_of_their_keys_with_gaps(backend: Backend) -> Result<()> {
    let name = |number: usize| format!("key {number}");
    let items = (0..50)
        .rev()
        .step_by(2)
        .map(|n| item(&name(n), name(n), HOUR));
    backend.remote.set(&items.collect::<Vec<_>>()).await?;
    let all: Vec<String> = (0..50).map(name).collect();
    let expected: Vec<_> = (0..50)
        .map(|n| (n % 2 == 1).then(|| Bytes::from(name(n))))
        .collect();
    assert_eq!(backend.remote.get(&all).await?, expected);
    let twice = backend.remote.get(&keys(["key 1", "key 1"])).await?;
    assert_eq!(twice, [Some(message("key 1")), Some(message("key 1"))]);
    Ok(())
}

async fn nothing_asked_is_nothing_done(backend: Backend) -> Result<()> {
    assert!(backend.remote.get(&[]).await?.is_empty());
    assert!(backend.remote.lock(&[], 1, HOUR).await?.is_empty());
    backend.remote.set(&[]).await?;
    backend.remote.remove(&[]).await?;
    backend.remote.unlock(&[], 1).await?;
    Ok(())
}

async fn a_value_is_gone_after_its_life(backend: Backend) -> Result<()> {
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

async fn what_is_set_again_or_removed_is_not_there_any_more(backend: Backend) -> Result<()> {
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

async fn a_lock_is_taken_once_until_it_runs_out(backend: Backend) -> Result<()> {
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

async fn only_its_owner_opens_a_lock(backend: Backend) -> Result<()> {
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

async fn a_message_reaches_each_subscriber_of_its_channel_once(backend: Backend) -> Result<()> {
    let mut one = backend.subscribe("news").await?;
    let mut other = backend.subscribe("news").await?;
    let mut elsewhere = backend.subscribe("olds").await?;
    let every_byte: Bytes = (0..=255).collect();
    backend.remote.publish("news", every_byte.clone()).await?;
    for channel in ["news", "olds"] {
        backend.remote.publish(channel, message("last")).await?;
    }
    for events in [&mut one, &mut other] {
        assert_eq!(next(events).await?, Event::Message(every_byte.clone()));
        assert_eq!(next(events).await?, Event::Message(message("last")));
    }
    assert_eq!(next(&mut elsewhere).await?, Event::Message(message("last")));
    Ok(())
}

async fn a_slow_subscriber_is_told_down_and_up(backend: Backend) -> Result<()> {
    let mut slow = backend.subscribe("news").await?;
    let mut quick = backend.subscribe("news").await?;
    for _ in 0..3000 {
        backend.remote.publish("news", message("flood")).await?;
        assert_eq!(next(&mut quick).await?, Event::Message(message("flood")));
    }
    wait_for(&mut slow, &Event::Down).await?;
    assert_eq!(next(&mut slow).await?, Event::Up);
    backend.remote.publish("news", message("last")).await?;
    wait_for(&mut slow, &Event::Message(message("last"))).await
}

async fn a_subscriber_is_told_down_and_up_around_an_outage(backend: Backend) -> Result<()> {
    let mut events = backend.subscribe("news").await?;
    for _ in 0..3 {
        backend.stop()?;
        assert_eq!(next(&mut events).await?, Event::Down);
        let mut late = backend.remote.subscribe("news");
        backend.start()?;
        assert_eq!(next(&mut events).await?, Event::Up);
        assert_eq!(next(&mut late).await?, Event::Up);
        backend.works().await?;
        backend.remote.publish("news", message("back")).await?;
        assert_eq!(next(&mut events).await?, Event::Message(message("back")));
        assert_eq!(next(&mut late).await?, Event::Message(message("back")));
    }
    Ok(())
}

async fn commands_fail_in_an_outage_and_work_after_it(backend: Backend) -> Result<()> {
    backend.works().await?;
    backend.stop()?;
    let any = keys(["any"]);
    assert!(backend.remote.get(&any).await.is_err());
    let begun = Instant::now();
    for _ in 0..100 {
        assert!(backend.remote.get(&any).await.is_err());
    }
    ensure!(
        begun.elapsed() < Duration::from_secs(1),
        "a call waited for the outage to end"
    );
    backend.start()?;
    backend.works().await
}

async fn a_silence_fails_the_guarded_reader_and_ends(backend: Backend) -> Result<()> {
    backend.works().await?;
    let limits = guard::Limits {
        failures: u32::MAX,
        ..guard::Limits::default()
    };
    let guard = Guard::new(Arc::clone(&backend.remote), limits);
    backend.pause()?;
    assert!(guard.get(&keys(["any"])).await.is_err());
    assert!(guard.set(&[item("any", "x", HOUR)]).await.is_err());
    assert_eq!(guard.counters().timeouts, 2);
    backend.resume()?;
    backend.works().await
}

async fn a_guard_opens_after_failures_and_closes_after_a_success(backend: Backend) -> Result<()> {
    backend.works().await?;
    let clock = Clock::manual();
    let limits = guard::Limits {
        failures: 3,
        ..guard::Limits::default()
    };
    let guard = Guard::with_clock(Arc::clone(&backend.remote), limits, clock.clone());
    let any = keys(["any"]);
    backend.pause()?;
    for _ in 0..3 {
        assert!(!guard.is_open());
        assert!(matches!(guard.get(&any).await, Err(Error::Timeout(_))));
    }
    assert!(guard.is_open());
    assert!(matches!(
        guard.lock(&any, 1, HOUR).await,
        Err(Error::BreakerOpen)
    ));
    clock.advance(limits.pause);
    assert!(matches!(guard.get(&any).await, Err(Error::Timeout(_))));
    assert!(matches!(guard.get(&any).await, Err(Error::BreakerOpen)));
    backend.resume()?;
    backend.works().await?;
    assert!(matches!(guard.get(&any).await, Err(Error::BreakerOpen)));
    wait_until("a guard that closed", LONG, async || {
        clock.advance(limits.pause);
        guard.get(&any).await.is_ok()
    })
    .await?;
    assert!(!guard.is_open());
    let counters = guard.counters();
    assert_eq!(counters.opened, 1);
    assert!(
        counters.refused >= 3 && counters.timeouts >= 4,
        "{counters:?}"
    );
    Ok(())
}

async fn a_failing_kind_of_call_leaves_the_others_alone(backend: Backend) -> Result<()> {
    backend.works().await?;
    let limits = guard::Limits {
        failures: 1,
        ..guard::Limits::default()
    };
    let guard = Guard::new(Arc::clone(&backend.remote), limits);
    backend.pause()?;
    assert!(guard.publish("news", message("x")).await.is_err());
    assert!(matches!(
        guard.publish("news", message("x")).await,
        Err(Error::BreakerOpen)
    ));
    assert!(!guard.is_open());
    let set = guard.set(&[item("any", "x", HOUR)]).await;
    assert!(
        matches!(set, Err(Error::Timeout(_))),
        "stores were asked on their own merits"
    );
    let got = guard.get(&keys(["any"])).await;
    assert!(
        matches!(got, Err(Error::Timeout(_))),
        "reads were asked on their own merits"
    );
    assert!(guard.is_open());
    backend.resume()
}

async fn subscriptions_end_with_the_remote(backend: Backend) -> Result<()> {
    let mut events = backend.subscribe("news").await?;
    drop(backend);
    while tokio::time::timeout(LONG, events.recv()).await?.is_some() {}
    Ok(())
}

mod redis_only {
    use super::*;

    #[tokio::test]
    async fn a_server_that_comes_later_is_found() -> Result<()> {
        let server = server::Setup::default().reserve()?;
        let remote = open(&server.url())?;
        let mut events = remote.subscribe("news");
        assert!(remote.get(&keys(["any"])).await.is_err());
        server.restart()?;
        assert_eq!(next(&mut events).await?, Event::Up);
        let backend = Backend {
            remote,
            hand: Hand::Redis(server),
        };
        backend.works().await
    }

    #[tokio::test]
    async fn an_outage_that_nobody_saw_costs_nobody_an_error() -> Result<()> {
        let backend = Backend::redis()?;
        backend.works().await?;
        // Blocks this runtime's only thread, so that the supervisor cannot see it either.
        backend.start()?;
        backend.remote.get(&keys(["any"])).await?;
        Ok(())
    }

    #[tokio::test]
    async fn a_subscriber_of_a_silent_server_is_told_down_and_later_up() -> Result<()> {
        let backend = Backend::redis()?;
        let mut events = backend.subscribe("news").await?;
        backend.pause()?;
        assert_eq!(next(&mut events).await?, Event::Down);
        backend.resume()?;
        assert_eq!(next(&mut events).await?, Event::Up);
        backend.works().await
    }

    #[tokio::test]
    async fn commands_to_a_silent_server_fail_at_once_when_it_is_noticed() -> Result<()> {
        let backend = Backend::redis()?;
        backend.works().await?;
        backend.pause()?;
        let any = keys(["any"]);
        wait_until("a failure at once", LONG, async || {
            let begun = Instant::now();
            backend.remote.get(&any).await.is_err() && begun.elapsed() < Duration::from_millis(20)
        })
        .await?;
        backend.resume()?;
        backend.works().await
    }

    #[tokio::test]
    async fn a_subscription_that_is_killed_alone_comes_back() -> Result<()> {
        let backend = Backend::redis()?;
        let mut events = backend.subscribe("news").await?;
        backend.works().await?;
        backend
            .server()?
            .command(&["CLIENT", "KILL", "TYPE", "pubsub"])?;
        assert_eq!(next(&mut events).await?, Event::Down);
        assert_eq!(next(&mut events).await?, Event::Up);
        Ok(())
    }

    #[tokio::test]
    async fn a_channel_without_listeners_is_left() -> Result<()> {
        let backend = Backend::redis()?;
        let events = backend.subscribe("news").await?;
        let _other = backend.subscribe("other").await?;
        let listeners = || backend.server()?.command(&["PUBSUB", "NUMSUB", "news"]);
        assert_eq!(listeners()?, "news\n1");
        drop(events);
        wait_until("an unsubscription", LONG, async || {
            listeners().is_ok_and(|answer| answer == "news\n0")
        })
        .await
    }

    #[tokio::test]
    async fn its_connections_are_closed_when_it_is_dropped() -> Result<()> {
        let server = server::start()?;
        let remote = open(&server.url())?;
        let mut events = remote.subscribe("news");
        assert_eq!(next(&mut events).await?, Event::Up);
        remote.get(&keys(["any"])).await?;
        drop((remote, events));
        wait_until("the end of its connections", LONG, async || {
            server
                .command(&["CLIENT", "LIST"])
                .is_ok_and(|list| list.trim().lines().count() == 1)
        })
        .await
    }

    #[tokio::test]
    async fn many_keys_are_one_command() -> Result<()> {
        let backend = Backend::redis()?;
        let many: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        backend.remote.get(&many).await?;
        let stats = backend.server()?.command(&["INFO", "commandstats"])?;
        assert!(stats.contains("cmdstat_mget:calls=1,"), "{stats}");
        assert!(!stats.contains("cmdstat_get:"), "{stats}");
        Ok(())
    }

    #[tokio::test]
    async fn a_refusal_for_want_of_memory_is_an_error_and_reads_go_on() -> Result<()> {
        let full = server::Setup::default()
            .args(["--maxmemory", "1"])
            .start()?;
        let remote = open(&full.url())?;
        assert!(matches!(
            remote.set(&[item("a", "x", HOUR)]).await,
            Err(Error::Failed(_))
        ));
        assert_eq!(remote.get(&keys(["a"])).await?, [None]);
        Ok(())
    }

    #[tokio::test]
    async fn a_password_is_used_and_never_shown() -> Result<()> {
        let server = server::Setup::default().password("hunter2").start()?;
        let remote = open(&server.url())?;
        remote.set(&[item("a", "x", HOUR)]).await?;
        assert_eq!(remote.name(), format!("redis://{}", server.address()));
        let wrong = open(&server.url().replace("hunter2", "hunter3"))?;
        let error = wrong
            .get(&keys(["a"]))
            .await
            .expect_err("the password is wrong");
        let chain = anyhow::Error::from(error.clone());
        let said = format!("{error} {error:?} {chain:#} {chain:?} {}", wrong.name());
        assert!(!said.contains("hunter"), "{said}");
        Ok(())
    }

    #[tokio::test]
    async fn an_address_that_is_not_understood_is_refused_without_its_password() -> Result<()> {
        for url in [
            "redis://user:hunter2@host:port",
            "redis://:hunter2@",
            "redis://:hunter2@host/hunter2",
            "memcached://:hunter2@host",
            "user:hunter2@host",
            "hunter2",
            "hub:hunter2",
            "",
            "redis-sentinel://",
            "redis-sentinel:///main",
            "redis-sentinel://:hunter2@/main",
            "redis-sentinel://:hunter2@host",
            "redis-sentinel://:hunter2@host:port/main",
            "redis-sentinel://:hunter2@host,,other/main",
            "redis-sentinel://:hunter2@host/ma in",
            "redis-sentinel://host/main?db=hunter2",
            "redis-sentinel://host/main?sentinel_password=hunter2&db=x",
            "redis-sentinel://:a?hunter2&b@host/main",
            "redis-cluster://",
            "redis-cluster://:hunter2@",
            "redis-cluster://:hunter2@host/main",
            "redis-cluster://:hunter2@host?replica_reads=maybe",
            "redis-cluster://:a/hunter2@host",
        ] {
            let error = match open(url) {
                Ok(_) => anyhow::bail!("{url} was understood"),
                Err(error) => error,
            };
            assert!(matches!(error, Error::Address(_)), "{error:?}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn tls_against_a_plain_server_is_an_error_and_no_panic() -> Result<()> {
        let server = server::start()?;
        let remote = open(&server.url().replace("redis://", "rediss://"))?;
        assert!(remote.get(&keys(["a"])).await.is_err());
        assert!(remote.name().starts_with("rediss://"));
        Ok(())
    }
}

mod hub_only {
    use super::*;

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
}
