//! From names to addresses, again and again.

use super::Limits;
use super::peers::Peers;
use super::place::{Origin, Place};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a file is read: it costs nothing, and who writes it wants to be heard.
const READ_EVERY: Duration = Duration::from_millis(250);
/// However often an endpoint is found to be away, names are looked up no sooner than this after
/// the last time.
const SOONEST: Duration = Duration::from_millis(250);
/// What a file of addresses may hold.
const FILE_BYTES: u64 = 64 << 10;

/// Who knows the addresses that a name has now.
pub trait Resolve: Send + Sync + 'static {
    /// All of them, in any order.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// What the system knows: DNS, and `/etc/hosts`.
#[derive(Clone, Copy, Default, Debug)]
pub struct System;

impl Resolve for System {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }.boxed()
    }
}

/// An endpoint that a name or a file has now.
pub(super) type Found = (Arc<Origin>, SocketAddr);

/// Keeps the endpoints of a client as its names have them.
pub(super) struct Resolver {
    pub(super) places: Vec<Place>,
    pub(super) resolve: Arc<dyn Resolve>,
    pub(super) limits: Limits,
    /// Told when an endpoint is found to be away.
    pub(super) nudge: Arc<Notify>,
    /// Told that the names were asked for the first time, whatever they said.
    pub(super) asked: watch::Sender<bool>,
}

impl Resolver {
    /// Until the last of those who use the endpoints is gone.
    pub(super) async fn run(self, peers: Weak<Peers>) {
        // What each place had last.
        let mut known: Vec<Vec<Found>> = vec![Vec::new(); self.places.len()];
        let mut silent = vec![false; self.places.len()];
        loop {
            for (index, place) in self.places.iter().enumerate() {
                let found = self.find(place).await;
                self.tell(place, &found, &mut silent[index]);
                // What was known stays where nobody says anything else.
                match found {
                    Ok(found) if !found.is_empty() => known[index] = found,
                    _ => {}
                }
            }
            let Some(peers) = peers.upgrade() else { return };
            peers.become_these(known.iter().flatten().cloned().collect());
            let nobody = known.iter().all(Vec::is_empty);
            drop(peers);
            self.asked.send_replace(true);
            self.pause(nobody).await;
        }
    }

    async fn find(&self, place: &Place) -> io::Result<Vec<Found>> {
        let found = async {
            match place {
                Place::Fixed(origin, address) => Ok(vec![(origin.clone(), *address)]),
                Place::Listed(path) => listed(path).await,
                Place::Named(origin) => {
                    let found = self.resolve.resolve(&origin.host, origin.port).await?;
                    let found: BTreeSet<_> = found.into_iter().collect();
                    Ok(found
                        .into_iter()
                        .map(|address| (origin.clone(), address))
                        .collect())
                }
            }
        };
        let late = |_| Err(io::ErrorKind::TimedOut.into());
        tokio::time::timeout(PATIENCE, found)
            .await
            .unwrap_or_else(late)
    }

    /// Logs when a place stops to answer, and when it answers again.
    fn tell(&self, place: &Place, found: &io::Result<Vec<Found>>, silent: &mut bool) {
        let why = match found {
            Ok(found) if found.is_empty() => Some("it has no addresses".to_owned()),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        let was = std::mem::replace(silent, why.is_some());
        match why {
            Some(why) if !was => {
                tracing::warn!(client.address = %place, why, "no addresses found: the last known ones stay");
            }
            None if was => tracing::info!(client.address = %place, "addresses are found again"),
            _ => {}
        }
    }

    /// Waits for the next time: sooner after an endpoint went away, and while there is none.
    async fn pause(&self, nobody: bool) {
        let listed = |place: &Place| matches!(place, Place::Listed(_));
        let pause = match self.places.iter().any(listed) {
            true => READ_EVERY,
            false if nobody => self.limits.rest,
            false => self.limits.resolve,
        };
        let begun = Instant::now();
        tokio::select! {
            () = tokio::time::sleep(super::jittered(pause)) => {}
            () = self.nudge.notified() => tokio::time::sleep_until(begun + SOONEST).await,
        }
    }
}

/// The addresses in a file, one a line.
async fn listed(path: &Path) -> io::Result<Vec<Found>> {
    let length = tokio::fs::metadata(path).await?.len();
    if length > FILE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let text = tokio::fs::read_to_string(path).await?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let read = |line: &str| {
        let address: SocketAddr = line.parse().map_err(|_| {
            let told = format!("{line:?} is not an address such as 127.0.0.1:7101");
            io::Error::new(io::ErrorKind::InvalidData, told)
        })?;
        Ok((Arc::new(Origin::at(address)), address))
    };
    lines.map(read).collect()
}
