//! What others find out and may find out anew: where the primary is, how a cluster is laid out.

use super::CONNECT;
use crate::remote::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How long one waits for the first word. It is enough for finding out, and whoever waits for a
/// connection waits no longer.
const PATIENCE: Duration = Duration::from_millis(2 * CONNECT.as_millis() as u64);

/// The side that finds out.
pub(super) struct Guide<T> {
    found: watch::Sender<Found<T>>,
    lost: Arc<Notify>,
}

/// The side that is told.
pub(super) struct Whereabouts<T> {
    found: watch::Receiver<Found<T>>,
    lost: Arc<Notify>,
}

enum Found<T> {
    /// Nobody has answered yet.
    Asking,
    At(T),
    /// Why it was never found.
    Nowhere(Error),
}

/// Two ends of the same news.
pub(super) fn whereabouts<T>() -> (Guide<T>, Whereabouts<T>) {
    let (sender, receiver) = watch::channel(Found::Asking);
    let lost = Arc::<Notify>::default();
    let guide = Guide {
        found: sender,
        lost: Arc::clone(&lost),
    };
    (
        guide,
        Whereabouts {
            found: receiver,
            lost,
        },
    )
}

impl<T: Clone + PartialEq> Guide<T> {
    /// It is here. Those who know that already are not disturbed.
    pub(super) fn point(&self, here: T) {
        self.found.send_if_modified(|found| {
            let is_new = !matches!(found, Found::At(old) if *old == here);
            if is_new {
                *found = Found::At(here);
            }
            is_new
        });
    }

    /// It was not found. What was found earlier stands: it may well work.
    pub(super) fn miss(&self, error: Error) {
        self.found.send_if_modified(|found| {
            let is_unknown = !matches!(found, Found::At(_));
            if is_unknown {
                *found = Found::Nowhere(error);
            }
            is_unknown
        });
    }

    /// The last that was found.
    pub(super) fn last(&self) -> Option<T> {
        match &*self.found.borrow() {
            Found::At(here) => Some(here.clone()),
            _ => None,
        }
    }

    /// Waits until somebody says that it does not work.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }
}

impl<T: Clone> Whereabouts<T> {
    /// It is here and stays here.
    pub(super) fn fixed(here: T) -> Self {
        Self {
            found: watch::channel(Found::At(here)).1,
            lost: Arc::default(),
        }
    }

    /// Where it is, as far as is known. Waits for the first word only.
    pub(super) async fn get(&mut self) -> Result<T, Error> {
        let told = self.found.wait_for(|found| !matches!(found, Found::Asking));
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(found)) => settled(&found).unwrap_or(Err(Error::Timeout(PATIENCE))),
            _ => Err(Error::Timeout(PATIENCE)),
        }
    }

    /// As [`Whereabouts::get`], for many who ask at once.
    pub(super) async fn look(&self) -> Result<T, Error> {
        let settled = settled(&self.found.borrow());
        match settled {
            Some(settled) => settled,
            None => self.clone().get().await,
        }
    }

    /// Waits until it is elsewhere than [`Whereabouts::get`] said.
    pub(super) async fn moved(&mut self) {
        if self.found.changed().await.is_err() {
            // Nobody is there to find out anything else.
            std::future::pending::<()>().await;
        }
    }

    /// Says that what was found does not work.
    pub(super) fn lost(&self) {
        self.lost.notify_one();
    }
}

impl<T> Clone for Whereabouts<T> {
    fn clone(&self) -> Self {
        Self {
            found: self.found.clone(),
            lost: Arc::clone(&self.lost),
        }
    }
}

fn settled<T: Clone>(found: &Found<T>) -> Option<Result<T, Error>> {
    match found {
        Found::Asking => None,
        Found::At(here) => Some(Ok(here.clone())),
        Found::Nowhere(error) => Some(Err(error.clone())),
    }
}
