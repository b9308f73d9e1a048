//! Following the primary that sentinels name.
//!
//! All sentinels are asked, each over a connection that is kept up, once a second and more often
//! while the primary is away. Where they disagree, the highest configuration epoch is right: a
//! failover gets a new one, from a majority, so that a sentinel which is cut off cannot hold us at
//! a primary of the past. Their messages (`+switch-master`) would save a part of a second and may
//! be lost, so the questions would be needed anyway.

use super::link::Link;
use super::server::{Manners, Server};
use super::tasks::Tasks;
use super::whereabouts::{Guide, Whereabouts, whereabouts};
use super::{CONNECT, HEARTBEAT, words};
use crate::remote::Error;
use futures_util::future::join_all;
use redis::{ConnectionInfo, Pipeline, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often sentinels are asked while the primary is away.
const HASTE: Duration = Duration::from_millis(100);
/// For how long they are asked so often after the last complaint. Whoever has no connection tries
/// again, and complains again, within a second.
const HASTY: Duration = Duration::from_secs(3);

/// Finds the primary, for as long as it lives.
pub(super) struct Sentinels {
    primary: Whereabouts<Server>,
    _tasks: Tasks,
}

/// Which primary is looked for.
pub(super) struct Wanted {
    /// Its name among the sentinels.
    pub(super) master: String,
    /// How to connect to it, whatever its address.
    pub(super) info: ConnectionInfo,
}

impl Sentinels {
    /// Begins to ask. `name` is that of the remote tier, for the log.
    pub(super) fn ask(
        sentinels: Vec<ConnectionInfo>,
        wanted: Wanted,
        name: &str,
    ) -> Result<Self, Error> {
        let link = |info| {
            let sentinel = Server::new(info, Manners::Plain)?;
            Link::open(Whereabouts::fixed(sentinel), name)
        };
        let links = sentinels.into_iter().map(link).collect::<Result<_, _>>()?;
        let (guide, primary) = whereabouts();
        let tasks = Tasks::here()?;
        tasks.run(watch(links, wanted, guide));
        Ok(Self {
            primary,
            _tasks: tasks,
        })
    }

    /// Where the primary is.
    pub(super) fn primary(&self) -> Whereabouts<Server> {
        self.primary.clone()
    }
}

async fn watch(sentinels: Vec<Link>, wanted: Wanted, guide: Guide<Server>) {
    let mut hasty_until = Instant::now();
    loop {
        match find(&sentinels, &wanted).await {
            Ok(primary) => guide.point(primary),
            Err(error) => guide.miss(error),
        }
        tokio::time::sleep(HASTE).await;
        if Instant::now() >= hasty_until {
            let complaint = tokio::time::timeout(HEARTBEAT - HASTE, guide.lost()).await;
            if complaint.is_ok() {
                hasty_until = Instant::now() + HASTY;
            }
        }
    }
}

async fn find(sentinels: &[Link], wanted: &Wanted) -> Result<Server, Error> {
    let mut question = Pipeline::with_capacity(2);
    let sentinel = |word| {
        let mut command = redis::cmd("SENTINEL");
        command.arg(word).arg(&wanted.master);
        command
    };
    question.add_command(sentinel("GET-MASTER-ADDR-BY-NAME"));
    question.add_command(sentinel("MASTER"));
    let asked = sentinels.iter().map(|sentinel| async {
        match tokio::time::timeout(CONNECT, sentinel.ask(&question)).await {
            Ok(answers) => Claim::read(answers?),
            Err(_) => Err(Error::Timeout(CONNECT)),
        }
    });
    let mut best: Result<Claim, Error> = Err(Error::Failed(Arc::new(Unknown)));
    for claim in join_all(asked).await {
        match (&best, &claim) {
            (Ok(best), Ok(claim)) if best.epoch >= claim.epoch => {}
            (Ok(_), Err(_)) => {}
            _ => best = claim,
        }
    }
    let best = best?;
    let addr = super::address::elsewhere(wanted.info.addr(), best.host, best.port);
    Server::new(wanted.info.clone().set_addr(addr), Manners::Primary)
}

/// What one sentinel says.
#[derive(PartialEq, Eq, Debug)]
struct Claim {
    host: String,
    port: u16,
    epoch: u64,
}

impl Claim {
    /// The address is that of the first answer, which names the new primary some steps before the
    /// second one does; the epoch is in the second.
    fn read(answers: Vec<Value>) -> Result<Self, Error> {
        let mut answers = answers.into_iter().map(words::accepted);
        let mut next = || answers.next().unwrap_or(Ok(Value::Nil));
        let address = next()?;
        let Value::Array(parts) = &address else {
            return Err(Error::Failed(Arc::new(Unknown)));
        };
        let parts: Vec<_> = parts.iter().filter_map(words::text).collect();
        let [host, port] = parts[..] else {
            return Err(words::unexpected(&address));
        };
        let port = port.parse().map_err(|_| words::unexpected(&address))?;
        Ok(Self {
            host: host.to_owned(),
            port,
            epoch: next().map_or(0, |about| epoch(&about)),
        })
    }
}

/// A list of names, each followed by its value.
fn epoch(about: &Value) -> u64 {
    let Value::Array(parts) = about else {
        return 0;
    };
    let (pairs, _) = parts.as_chunks::<2>();
    pairs
        .iter()
        .find(|[name, _]| words::text(name) == Some("config-epoch"))
        .and_then(|[_, value]| words::text(value)?.parse().ok())
        .unwrap_or(0)
}

#[derive(Debug, thiserror::Error)]
#[error("no sentinel knows a primary of this name")]
struct Unknown;

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Value {
        let word = |word: &&str| Value::BulkString(word.as_bytes().to_vec());
        Value::Array(words.iter().map(word).collect())
    }

    #[test]
    fn a_claim_is_an_address_and_its_epoch() {
        let about = list(&["name", "main", "flags", "master", "config-epoch", "7"]);
        let claim = Claim::read(vec![list(&["10.0.0.1", "6380"]), about]).unwrap();
        let (host, port, epoch) = ("10.0.0.1".to_owned(), 6380, 7);
        assert_eq!(claim, Claim { host, port, epoch });
    }

    #[test]
    fn answers_that_make_no_sense_are_errors_and_no_panic() {
        for answers in [
            vec![],
            vec![Value::Nil, Value::Nil],
            vec![Value::Int(1)],
            vec![list(&[]), list(&[])],
            vec![list(&["host"])],
            vec![list(&["host", "port"]), Value::Nil],
            vec![list(&["host", "65536"]), list(&["config-epoch"])],
        ] {
            assert!(Claim::read(answers.clone()).is_err(), "{answers:?}");
        }
        let odd = list(&["config-epoch", "x", "more"]);
        let claim = Claim::read(vec![list(&["host", "1"]), odd]).unwrap();
        assert_eq!(claim.epoch, 0);
    }
}
