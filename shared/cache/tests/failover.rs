//! What sentinels and clusters add to the promises of a remote tier: servers change their roles
//! and slots their place, and no call hangs meanwhile.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use larder::remote::guard::{Guard, Limits};
use larder::remote::{Event, Item, Remote, open};
use larder_testkit::{cluster, sentinel, wait_until};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(30);
const NEWS: &str = "larder:news";
const HOUR: Duration = Duration::from_secs(3600);
/// Nobody waits longer for an answer, whatever happens, even without a guard: two connections
/// and two answers.
const BOUND: Duration = Duration::from_secs(2);
/// From the moment at which somebody has taken over until everything works again. It takes a few
/// tenths of a second; the rest is for machines that are busy.
const RECOVERY: Duration = Duration::from_secs(5);

/// A name in the suite's namespace, which is all that its user may touch.
fn named(name: &str) -> String {
    match name.starts_with("larder:") {
        true => name.to_owned(),
        false => format!("larder:{name}"),
    }
}

fn item(key: &str, value: &str) -> Item {
    Item {
        key: named(key),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ttl: HOUR,
    }
}

fn key(key: &str) -> [String; 1] {
    [named(key)]
}

/// Enough keys for each shard to have some.
fn many_keys() -> Vec<String> {
    (0..300)
        .map(|number| named(&format!("key {number}")))
        .collect()
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

async fn wait_stored(remote: &Arc<dyn Remote>, item: &Item) -> Result<()> {
    wait_until("a store that works", LONG, async || {
        remote.set(std::slice::from_ref(item)).await.is_ok()
    })
    .await
}

/// Publishes until a message arrives: between `Up` and that, what was sent may still be lost.
async fn wait_hint(remote: &Arc<dyn Remote>, events: &mut Receiver<Event>) -> Result<()> {
    let message = Bytes::from_static(b"again");
    wait_until("a message that arrives", LONG, async || {
        let _ = remote.publish(NEWS, message.clone()).await;
        let event = tokio::time::timeout(Duration::from_millis(200), events.recv()).await;
        event == Ok(Some(Event::Message(message.clone())))
    })
    .await
}

/// Commands and messages without end, and what became of them.
struct Load {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    calls: usize,
    failures: usize,
    longest: Duration,
    last_failure: Option<Instant>,
    last_error: Option<String>,
}

impl Load {
    /// Reads and writes these keys, all at once and one by one, and publishes.
    fn start(remote: &Arc<dyn Remote>, keys: &[String]) -> Self {
        let mut load = Self {
            seen: Arc::default(),
            stop: Arc::default(),
            tasks: Vec::new(),
        };
        let items: Vec<_> = keys.iter().map(|key| item(key, key)).collect();
        for worker in 0..4 {
            let (remote, keys, items) = (Arc::clone(remote), keys.to_vec(), items.clone());
            let (seen, stop) = (Arc::clone(&load.seen), Arc::clone(&load.stop));
            let work = async move {
                for turn in (worker..).step_by(4) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let one = turn % keys.len();
                    let begun = Instant::now();
                    let answer = match turn % 6 {
                        0 => remote.get(&keys).await.map(drop),
                        1 => remote.set(&items).await,
                        2 | 3 => remote.get(&keys[one..=one]).await.map(drop),
                        4 => remote.set(&items[one..=one]).await,
                        _ => remote.publish(NEWS, Bytes::from_static(b"load")).await,
                    };
                    let error = answer.err().map(|error| format!("{error:?}"));
                    note(&seen, begun.elapsed(), error);
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            };
            load.tasks.push(tokio::spawn(work));
        }
        load
    }

    fn seen(&self) -> Seen {
        self.seen.lock().expect("no panic under it").clone()
    }

    async fn end(self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            tokio::time::timeout(LONG, task)
                .await
                .context("a call hangs")??;
        }
        let seen = self.seen.lock().expect("no panic under it").clone();
        println!("{seen:?}");
        ensure!(seen.longest < BOUND, "a call took too long: {seen:?}");
        Ok(seen)
    }
}

fn note(seen: &Mutex<Seen>, took: Duration, error: Option<String>) {
    let mut seen = seen.lock().expect("no panic under it");
    seen.calls += 1;
    seen.longest = seen.longest.max(took);
    if error.is_some() {
        seen.failures += 1;
        seen.last_failure = Some(Instant::now());
        seen.last_error = error;
    }
}

/// Waits until no call of the load has failed for a second.
async fn wait_calm(load: &Load) -> Result<()> {
    wait_until("a second without a failure", LONG, async || {
        let last = load.seen().last_failure;
        last.is_none_or(|last| last.elapsed() > Duration::from_secs(1))
    })
    .await
}

/// How long after `begun` the last failure came.
fn last_failure_after(seen: &Seen, begun: Instant) -> Duration {
    let last = seen.last_failure.unwrap_or(begun);
    last.saturating_duration_since(begun)
}

mod sentinels {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn commands_and_hints_follow_a_failover_under_load() -> Result<()> {
        let servers = sentinel::start()?;
        let remote = open(&servers.url())?;
        let mut events = remote.subscribe(NEWS);
        assert_eq!(next(&mut events).await?, Event::Up);
        wait_stored(&remote, &item("any", "x")).await?;
        let load = Load::start(&remote, &many_keys());

        let old = servers.kill_primary()?;
        let killed = Instant::now();
        let hints = tokio::spawn(async move {
            wait_for(&mut events, &Event::Down).await?;
            let down = killed.elapsed();
            wait_for(&mut events, &Event::Up).await?;
            wait_for(&mut events, &Event::Message(Bytes::from_static(b"load"))).await?;
            anyhow::Ok((down, killed.elapsed()))
        });
        servers.wait_for_another(old, LONG).await?;
        let taken_over = killed.elapsed();
        let (down, again) = hints.await??;
        wait_calm(&load).await?;
        let seen = load.end().await?;
        let last = last_failure_after(&seen, killed);
        println!(
            "after the kill: Down {down:?}, another primary {taken_over:?}, \
             a message {again:?}, the last failure {last:?}"
        );
        ensure!(again.max(last) < taken_over + RECOVERY, "slow to recover");
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_not_replicated_is_gone_after_a_failover_and_all_goes_on() -> Result<()> {
        let servers = sentinel::start()?;
        let remote = open(&servers.url())?;
        let mut events = remote.subscribe(NEWS);
        wait_stored(&remote, &item("early", "x")).await?;
        servers.primary()?.command(&["WAIT", "2", "5000"])?;
        servers.cut_replication()?;
        remote.set(&[item("late", "x")]).await?;
        let old = servers.kill_primary()?;
        servers.wait_for_another(old, LONG).await?;
        wait_stored(&remote, &item("new", "x")).await?;
        let keys = ["early", "late", "new"].map(str::to_owned);
        let there: Vec<_> = remote
            .get(&keys)
            .await?
            .iter()
            .map(Option::is_some)
            .collect();
        assert_eq!(there, [true, false, true]);
        wait_hint(&remote, &mut events).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_silent_primary_is_left_and_not_returned_to_when_it_wakes() -> Result<()> {
        let servers = sentinel::start()?;
        let remote = open(&servers.url())?;
        let mut events = remote.subscribe(NEWS);
        wait_stored(&remote, &item("any", "old")).await?;
        let load = Load::start(&remote, &many_keys());
        let old = servers.primary()?;
        old.pause()?;
        servers.wait_for_another(old.address(), LONG).await?;
        let new = servers.primary()?;
        wait_stored(&remote, &item("any", "new")).await?;
        assert_eq!(new.command(&["GET", "any"])?, "new");
        // It still takes itself for the primary, and has everybody's old connections.
        old.resume()?;
        wait_calm(&load).await?;
        remote.set(&[item("any", "newer")]).await?;
        assert_eq!(new.command(&["GET", "any"])?, "newer");
        wait_hint(&remote, &mut events).await?;
        load.end().await?;
        Ok(())
    }

    #[tokio::test]
    async fn a_demoted_primary_that_still_answers_is_not_believed() -> Result<()> {
        let servers = sentinel::start()?;
        let remote = open(&servers.url())?;
        wait_stored(&remote, &item("any", "x")).await?;
        let primary = servers.primary()?;
        let other = servers
            .servers()
            .iter()
            .find(|s| s.address() != primary.address());
        let other = other.context("a replica")?.address();
        // Sentinels would break our connections to it, and name another.
        servers.sentinels().iter().try_for_each(|s| s.pause())?;
        let (host, port) = (other.ip().to_string(), other.port().to_string());
        primary.command(&["REPLICAOF", &host, &port])?;
        wait_until("reads that fail", LONG, async || {
            remote.get(&key("any")).await.is_err()
        })
        .await?;
        let error = remote.set(&[item("any", "x")]).await;
        let said = anyhow::Error::from(error.expect_err("there is no primary"));
        ensure!(format!("{said:#}").contains("no primary"), "{said:#}");
        primary.command(&["REPLICAOF", "NO", "ONE"])?;
        wait_stored(&remote, &item("any", "x")).await
    }

    #[tokio::test]
    async fn one_sentinel_of_three_is_enough() -> Result<()> {
        let servers = sentinel::start()?;
        servers.sentinels()[0].stop()?;
        servers.sentinels()[1].pause()?;
        let remote = open(&servers.url())?;
        wait_stored(&remote, &item("any", "x")).await
    }

    #[tokio::test]
    async fn a_name_that_no_sentinel_knows_is_said_so() -> Result<()> {
        let servers = sentinel::Setup::default().replicas(0).start()?;
        let remote = open(&servers.url().replace("/main", "/other"))?;
        let error = remote.get(&key("any")).await;
        let said = anyhow::Error::from(error.expect_err("there is no such primary"));
        let said = format!("{said:#}");
        ensure!(said.contains("primary of this name"), "{said}");
        assert_eq!(remote.name(), servers.url().replace("/main", "/other"));
        Ok(())
    }
}

mod clusters {
    use super::*;

    async fn wait_reachable(remote: &Arc<dyn Remote>) -> Result<()> {
        let keys = many_keys();
        let items: Vec<_> = keys.iter().map(|key| item(key, key)).collect();
        wait_until("all keys", LONG, async || {
            let stored = remote.set(&items).await.is_ok();
            let found = remote.get(&keys).await.unwrap_or_default();
            stored && found.len() == keys.len() && found.iter().all(Option::is_some)
        })
        .await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_killed_primary_is_replaced_under_load() -> Result<()> {
        let servers = cluster::start()?;
        let remote = open(&servers.url())?;
        let mut events = remote.subscribe(NEWS);
        wait_reachable(&remote).await?;
        let load = Load::start(&remote, &many_keys());

        let slot = servers.slot(&named("key 1"))?;
        let killed = servers.kill_owner(slot)?;
        let begun = Instant::now();
        wait_until("another owner", LONG, async || servers.owner(slot).is_ok()).await?;
        servers.wait_well(LONG).await?;
        let taken_over = begun.elapsed();
        wait_stored(&remote, &item("key 1", "new")).await?;
        let stores = begun.elapsed();
        wait_hint(&remote, &mut events).await?;
        wait_calm(&load).await?;
        let seen = load.end().await?;
        let last = last_failure_after(&seen, begun);
        println!(
            "after the kill: another primary {taken_over:?}, a store in its slot {stores:?}, \
             the last failure {last:?}"
        );
        ensure!(stores.max(last) < taken_over + RECOVERY, "slow to recover");
        killed.restart()?;
        servers.wait_well(LONG).await?;
        wait_reachable(&remote).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn slots_move_to_a_new_shard_under_load_and_no_call_fails() -> Result<()> {
        let servers = cluster::start()?;
        let remote = open(&format!("{}?replica_reads=no", servers.url()))?;
        wait_reachable(&remote).await?;
        let load = Load::start(&remote, &many_keys());
        let shard = servers.add_shard()?;
        let mut moved = 0;
        for key in many_keys().iter().step_by(5) {
            let slot = servers.slot(key)?;
            if servers.owner(slot)?.address() != shard.address() {
                servers.move_slot(slot, &shard)?;
                moved += 1;
            }
        }
        println!("moved {moved} slots");
        let found = remote.get(&many_keys()).await?;
        assert!(found.iter().all(Option::is_some), "a value was lost");
        let seen = load.end().await?;
        assert_eq!(seen.failures, 0, "{seen:?}");
        Ok(())
    }

    #[tokio::test]
    async fn a_key_is_found_on_either_side_while_its_slot_moves() -> Result<()> {
        let servers = cluster::start()?;
        let remote = open(&format!("{}?replica_reads=no", servers.url()))?;
        wait_reachable(&remote).await?;
        let (here, absent) = (key("{key 1}"), key("{key 1} lock"));
        remote.set(&[item(&here[0], "x")]).await?;
        let found = [Some(Bytes::from_static(b"x"))];
        let shard = servers.add_shard()?;
        let moving = servers.begin_move(servers.slot("key 1")?, &shard)?;
        assert_eq!(remote.get(&here).await?, found);
        assert_eq!(remote.get(&absent).await?, [None]);
        assert_eq!(remote.lock(&absent, 1, HOUR).await?, [true]);
        moving.move_keys()?;
        assert_eq!(remote.get(&here).await?, found);
        assert_eq!(remote.lock(&absent, 2, HOUR).await?, [false]);
        remote.unlock(&absent, 1).await?;
        moving.end()?;
        assert_eq!(remote.get(&here).await?, found);
        assert_eq!(remote.lock(&absent, 2, HOUR).await?, [true]);
        Ok(())
    }

    fn gets(node: &cluster::Node) -> Result<bool> {
        let stats = node.command(&["INFO", "commandstats"])?;
        Ok(stats.contains("cmdstat_get:"))
    }

    #[tokio::test]
    async fn values_are_read_from_replicas_unless_the_address_says_no() -> Result<()> {
        let servers = cluster::start()?;
        let nodes = servers.nodes();
        let (primaries, replicas) = nodes.split_at(3);
        let no = open(&format!("{}?replica_reads=no", servers.url()))?;
        wait_reachable(&no).await?;
        for node in replicas {
            assert!(!gets(node)?);
        }
        for node in primaries {
            node.command(&["CONFIG", "RESETSTAT"])?;
        }
        let yes = open(&servers.url())?;
        wait_reachable(&yes).await?;
        for (primary, replica) in primaries.iter().zip(replicas) {
            assert_eq!((gets(primary)?, gets(replica)?), (false, true));
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_silent_replica_is_passed_over_as_soon_as_a_guard_lost_its_patience() -> Result<()> {
        let servers = cluster::start()?;
        let remote = open(&servers.url())?;
        wait_reachable(&remote).await?;
        // Longer than a busy machine pauses, and shorter than a heartbeat takes to be missed.
        let limits = Limits {
            timeout: Duration::from_millis(300),
            failures: u32::MAX,
            ..Limits::default()
        };
        let guard = Guard::new(remote, limits);
        let replicas = servers.nodes().split_off(3);
        replicas.iter().try_for_each(|replica| replica.pause())?;
        let mut failures = 0;
        for key in many_keys().iter().take(30) {
            match guard.get(std::slice::from_ref(key)).await {
                Ok(found) => assert!(found[0].is_some()),
                Err(_) => failures += 1,
            }
        }
        // One for each replica; it would be three times as many until the heartbeat notices.
        ensure!((1..=4).contains(&failures), "{failures} reads failed");
        replicas.iter().try_for_each(|replica| replica.resume())
    }

    #[tokio::test]
    async fn reads_go_on_while_a_primary_is_away_and_other_shards_go_on_altogether() -> Result<()> {
        let servers = cluster::Setup::default()
            .args(["--cluster-require-full-coverage", "no"])
            // Nobody takes over while this test looks.
            .args(["--cluster-replica-no-failover", "yes"])
            .start()?;
        let remote = open(&servers.url())?;
        wait_reachable(&remote).await?;
        let owner = servers.owner(servers.slot(&named("key 1"))?)?;
        owner.command(&["WAIT", "1", "5000"])?;
        owner.stop()?;
        let keys = many_keys();
        for _ in 0..20 {
            let begun = Instant::now();
            let found = remote.get(&keys).await?;
            assert!(found.iter().all(Option::is_some));
            assert!(remote.set(&[item("key 1", "x")]).await.is_err());
            remote
                .set(&keys.iter().map(|key| item(key, key)).collect::<Vec<_>>())
                .await?;
            ensure!(
                begun.elapsed() < BOUND,
                "a call waited for somebody who is away"
            );
        }
        let elsewhere = servers.nodes();
        let lost = elsewhere
            .iter()
            .filter(|node| node.is_running() && !node.is_primary());
        lost.map(|node| node.stop()).collect::<Result<Vec<_>>>()?;
        let found = remote.get(&keys).await?;
        let there = found.iter().filter(|value| value.is_some()).count();
        ensure!(there > 100 && there < 300, "{there} of 300");
        assert!(remote.get(&key("key 1")).await.is_err());
        assert_eq!(remote.lock(&key("key 1"), 1, HOUR).await.ok(), None);
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_subscriber_whose_node_dies_or_falls_silent_is_told_and_served_by_another()
    -> Result<()> {
        let servers = cluster::start()?;
        let remote = open(&servers.url())?;
        let mut events = remote.subscribe(NEWS);
        assert_eq!(next(&mut events).await?, Event::Up);
        let listened = || {
            let nodes = servers.nodes().into_iter().filter(|node| node.is_running());
            nodes.into_iter().find(|node| {
                let listeners = node.command(&["PUBSUB", "NUMSUB", NEWS]);
                listeners.is_ok_and(|answer| answer == "larder:news\n1")
            })
        };
        let first = listened().context("a node that is listened to")?;
        first.stop()?;
        let begun = Instant::now();
        assert_eq!(next(&mut events).await?, Event::Down);
        assert_eq!(next(&mut events).await?, Event::Up);
        println!("Up at another node after {:?}", begun.elapsed());
        wait_hint(&remote, &mut events).await?;
        let second = listened().context("another node that is listened to")?;
        assert_ne!(second.address(), first.address());
        second.pause()?;
        wait_for(&mut events, &Event::Down).await?;
        wait_for(&mut events, &Event::Up).await?;
        wait_hint(&remote, &mut events).await?;
        second.resume()
    }

    #[tokio::test]
    async fn a_cluster_that_comes_later_is_found() -> Result<()> {
        let servers = cluster::start()?;
        servers.stop()?;
        let remote = open(&servers.url())?;
        let mut events = remote.subscribe(NEWS);
        let begun = Instant::now();
        assert!(remote.get(&key("any")).await.is_err());
        ensure!(begun.elapsed() < BOUND);
        servers.restart()?;
        wait_reachable(&remote).await?;
        wait_for(&mut events, &Event::Up).await?;
        wait_hint(&remote, &mut events).await
    }

    #[tokio::test]
    async fn a_server_that_is_no_cluster_is_an_error_that_says_so() -> Result<()> {
        let server = larder_testkit::redis::start()?;
        let remote = open(&format!("redis-cluster://user:@{}", server.address()))?;
        assert!(!remote.name().contains("user"), "{}", remote.name());
        let remote = open(&server.url().replace("redis://", "redis-cluster://"))?;
        let error = remote.get(&key("any")).await;
        let said = anyhow::Error::from(error.expect_err("there is no cluster"));
        let said = format!("{said:#}");
        ensure!(said.contains("cluster support disabled"), "{said}");
        Ok(())
    }
}
