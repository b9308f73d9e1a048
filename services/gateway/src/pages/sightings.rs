//! Since when this process has seen each page as it is: what `Last-Modified` says.
//!
//! No row knows when it was last written, and if all did, a comment that is deleted would take its
//! time with it: the page would have changed and be dated back. So the time is that of whoever
//! looked. Two states of a page never have the same second in one process, and
//! [`Modified::Seen`] lets no second but its own confirm a copy. After a start, or on another
//! replica, the time is another and the page is sent once more; the entity tag, which is the same
//! everywhere, is what a caller should send.

use crate::conditional::{Etag, Modified};
use larder::{Larder, Memo, Read};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

const BYTES: u64 = 8 << 20;

/// See the module's documentation. Who is forgotten for want of room is seen anew.
pub struct Sightings {
    seen: Memo<String, Sighting>,
    /// What is seen is compared and replaced in one step.
    turn: Mutex<()>,
}

#[derive(Clone, PartialEq, Eq)]
struct Sighting {
    page: Etag,
    since: SystemTime,
    /// Another state was seen in that same second, so that it must not be told.
    crowded: bool,
}

impl Sightings {
    /// Nothing was seen yet.
    pub fn new(larder: &Larder) -> Self {
        Self {
            seen: larder.memo(BYTES),
            turn: Mutex::new(()),
        }
    }

    /// The page at this path looks like this, now. None where the second is not its alone.
    pub fn see(&self, path: &str, page: &Etag, now: SystemTime) -> Option<Modified> {
        let path = path.to_owned();
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let last = (self.seen).get(&path, &Read::bounded(), |seen, _| seen.clone());
        let sighting = next(last.as_ref(), page, now);
        let modified = (!sighting.crowded).then_some(Modified::Seen(sighting.since));
        if last.as_ref() != Some(&sighting) {
            let bytes = path.len() + 2 * size_of::<Sighting>();
            self.seen.put(path, Vec::new(), sighting, bytes);
        }
        modified
    }
}

fn next(last: Option<&Sighting>, page: &Etag, now: SystemTime) -> Sighting {
    let anew = |crowded| Sighting {
        page: page.clone(),
        since: now,
        crowded,
    };
    match last {
        None => anew(false),
        // A clock that was put back must not date the new state before the old one.
        Some(last) if last.page != *page => anew(second(now) <= second(last.since)),
        Some(last) if last.crowded && second(now) > second(last.since) => anew(false),
        Some(last) => last.clone(),
    }
}

fn second(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + millis)
    }

    fn seen(since: u64) -> Option<Modified> {
        Some(Modified::Seen(at(since)))
    }

    async fn sightings() -> Sightings {
        let remote = larder::remote::open("hub:").expect("a hub");
        Sightings::new(&Larder::builder(remote).build())
    }

    fn states() -> [Etag; 2] {
        [Etag::of(&[b"one"]), Etag::of(&[b"two"])]
    }

    #[tokio::test]
    async fn a_page_has_the_time_since_which_it_was_seen_as_it_is() {
        let sightings = sightings().await;
        let [one, two] = &states();
        assert_eq!(sightings.see("/a", one, at(0)), seen(0));
        assert_eq!(sightings.see("/a", one, at(5000)), seen(0));
        assert_eq!(sightings.see("/b", one, at(6000)), seen(6000));
        assert_eq!(sightings.see("/a", two, at(7000)), seen(7000));
        // It looks as it did before, and has another time all the same.
        assert_eq!(sightings.see("/a", one, at(9000)), seen(9000));
    }

    #[tokio::test]
    async fn two_states_of_a_page_never_share_a_second() {
        let sightings = sightings().await;
        let [one, two] = &states();
        assert_eq!(sightings.see("/", one, at(100)), seen(100));
        assert_eq!(sightings.see("/", two, at(200)), None);
        assert_eq!(sightings.see("/", two, at(999)), None);
        assert_eq!(sightings.see("/", two, at(1000)), seen(1000));
        assert_eq!(sightings.see("/", one, at(1100)), None);
        assert_eq!(sightings.see("/", two, at(1200)), None);
        assert_eq!(sightings.see("/", two, at(2500)), seen(2500));
        // The clock is put back.
        assert_eq!(sightings.see("/", one, at(1700)), None);
    }
}
