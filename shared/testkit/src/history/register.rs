//! One row: the states that it may have been in, since when each is known, and the rule.

use super::{Collection, Content, Kind, Moment, NOWHERE, Origin, Read, Seen, State, Violation};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// What was known for longer than any operation is under way need not be told from what came
/// before it.
const HORIZON: Duration = Duration::from_secs(120);
/// States that are kept before any is forgotten.
const FEW: usize = 64;
/// Events of each sort that a report shows.
const TRAIL: usize = 24;
/// Sessions that are remembered.
const SESSIONS: usize = 1024;

#[derive(Clone, Debug)]
struct Entry {
    state: State,
    /// Where the row is in this state. Several, as long as it is not known: of two writes that
    /// would make it, the first of which had no known outcome, either may have happened.
    collections: Vec<Attempt>,
    /// Since when it, at least, must be reflected.
    known: Option<Moment>,
}

/// A write that may have made a state.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    collection: Collection,
    /// It cannot have been seen by a read that returned before.
    invoked: Moment,
}

/// Something that happened to the row, for reports.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) at: Moment,
    pub(super) text: String,
}

/// An answer that was read, kept unrendered: there are many.
#[derive(Clone, Copy, Debug)]
struct Glimpse {
    what: &'static str,
    session: u32,
    process: u16,
    invoked: Moment,
    returned: Moment,
    origin: Origin,
    age: Option<Duration>,
    seen: Seen,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Register {
    name: String,
    /// In the order of the states.
    entries: VecDeque<Entry>,
    acknowledged: State,
    /// What the database held at the end.
    end: Option<Option<u64>>,
    sessions: HashMap<u32, (State, Moment)>,
    writes: VecDeque<Event>,
    reads: VecDeque<Glimpse>,
}

/// How an answer stands to what was known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    /// For how long something newer had been known when it was asked for.
    pub(super) behind: Duration,
    /// The oldest state that is newer than what it shows, if one was known.
    pub(super) newer: Option<(State, Moment)>,
    /// The newest state that it may show.
    pub(super) shows: State,
    pub(super) broken: Option<Kind>,
}

impl Register {
    pub(super) fn new(name: String) -> Self {
        let never = Entry {
            state: State::NEVER,
            collections: vec![Attempt {
                collection: NOWHERE,
                invoked: Moment::ZERO,
            }],
            known: Some(Moment::ZERO),
        };
        Self {
            name,
            entries: VecDeque::from([never]),
            acknowledged: State::NEVER,
            end: None,
            sessions: HashMap::new(),
            writes: VecDeque::new(),
            reads: VecDeque::new(),
        }
    }

    pub(super) fn attempt(&mut self, at: Moment, state: State, collection: Collection) {
        let text = format!("write of {state} into {} invoked", collection.0);
        self.tell(at, text);
        self.enter(state, collection, at, None);
    }

    pub(super) fn wrote(
        &mut self,
        invoked: Moment,
        returned: Moment,
        state: State,
        collection: Collection,
    ) {
        let since = millis(invoked);
        let text = format!(
            "write of {state} into {} (invoked {since}) returned",
            collection.0
        );
        self.tell(returned, text);
        self.enter(state, collection, invoked, Some(returned));
        self.acknowledged = self.acknowledged.max(state);
        self.forget(returned);
    }

    pub(super) fn judge(
        &mut self,
        bound: Duration,
        read: &Read,
        seen: Seen,
        shown: Option<State>,
    ) -> Verdict {
        let shows = self.newest(seen, read.returned);
        let newer = self.known_after(shows);
        let behind = newer.map_or(Duration::ZERO, |(_, known)| {
            read.invoked.saturating_sub(known)
        });
        let broken = self.broken(
            bound,
            read,
            seen,
            shown,
            (shows, newer.map(|(s, _)| s), behind),
        );
        if self.reads.len() == TRAIL {
            self.reads.pop_front();
        }
        self.reads.push_back(Glimpse {
            what: read.what,
            session: read.session,
            process: read.process,
            invoked: read.invoked,
            returned: read.returned,
            origin: read.origin,
            age: read.age,
            seen,
        });
        if let Seen::Row { collection, .. } = seen {
            // Only what is right may become known.
            if broken.is_none() {
                self.enter(shows, collection, Moment::ZERO, Some(read.returned));
            }
            if self.sessions.len() < SESSIONS || self.sessions.contains_key(&read.session) {
                let last = self.sessions.entry(read.session);
                let last = last.or_insert((shows, read.returned));
                if shows > last.0 {
                    *last = (shows, read.returned);
                }
            }
        }
        Verdict {
            behind,
            newer,
            shows,
            broken,
        }
    }

    fn broken(
        &self,
        bound: Duration,
        read: &Read,
        seen: Seen,
        shown: Option<State>,
        (shows, newer, behind): (State, Option<State>, Duration),
    ) -> Option<Kind> {
        if let Seen::Row {
            version,
            collection,
            content,
        } = seen
        {
            match content {
                Content::Aborted => return Some(Kind::Aborted),
                Content::Of(other) if other != version => return Some(Kind::Garbled),
                _ => {}
            }
            let known = self.entries.iter().find(|entry| entry.state == shows);
            let possible = |entry: &Entry| {
                let mut all = entry.collections.iter();
                all.any(|attempt| attempt.collection == collection)
            };
            if known.is_some_and(|entry| !possible(entry)) {
                return Some(Kind::Garbled);
            }
        }
        let marked = read.origin == Origin::Stale;
        if !marked && shown.is_some_and(|state| shows < state) {
            return Some(Kind::Token);
        }
        if self.end.is_some_and(|end| !marked && !agrees(end, seen)) {
            return Some(Kind::Differs);
        }
        if read.age.is_some_and(|age| behind > age) {
            return Some(Kind::OlderThanTold);
        }
        if marked || behind <= bound {
            return None;
        }
        let went_back = self
            .sessions
            .get(&read.session)
            .is_some_and(|(last, at)| *last > shows && read.invoked > *at + bound);
        Some(match (newer, shows.is_absence()) {
            _ if went_back => Kind::WentBack,
            (Some(newer), false) if newer.is_absence() => Kind::Returned,
            (Some(_), true) => Kind::Missing,
            _ => Kind::Stale,
        })
    }

    pub(super) fn at_end(
        &mut self,
        at: Moment,
        held: Option<(u64, Collection)>,
    ) -> Option<Violation> {
        let state = match held {
            Some((version, _)) => State::version(version),
            None => self.newest(Seen::Absent, at),
        };
        self.end = Some(held.map(|(version, _)| version));
        self.tell(at, format!("the database holds {state}"));
        if state < self.acknowledged {
            let said = format!(
                "{}: {} was acknowledged, and in the end the database holds {state}",
                self.name, self.acknowledged
            );
            return Some(Violation::new(Kind::Lost, said, self.trail()));
        }
        let collection = held.map_or(NOWHERE, |(_, collection)| collection);
        self.enter(state, collection, Moment::ZERO, Some(at));
        None
    }

    pub(super) fn report(
        &self,
        kind: Kind,
        read: &Read,
        seen: Seen,
        verdict: &Verdict,
    ) -> Violation {
        let newer = verdict.newer.map_or_else(String::new, |(state, known)| {
            format!("; {state} was known since {}", millis(known))
        });
        let said = format!(
            "{}: {} by session {} at process {}, invoked {}, returned {}, from {:?}, age {:?}, \
             shows {seen:?}, at best {}, which is {} behind{newer}",
            self.name,
            read.what,
            read.session,
            read.process,
            millis(read.invoked),
            millis(read.returned),
            read.origin,
            read.age,
            verdict.shows,
            millis(verdict.behind),
        );
        Violation::new(kind, said, self.trail())
    }

    /// The newest state that this may be a sight of, by a read that returned then.
    fn newest(&self, seen: Seen, returned: Moment) -> State {
        let fits = |attempt: &Attempt| {
            attempt.invoked <= returned
                && match seen {
                    Seen::Row { .. } => false,
                    Seen::Absent => attempt.collection == NOWHERE,
                    Seen::Outside(of) => attempt.collection != of,
                }
        };
        let fits = |entry: &&Entry| entry.collections.iter().any(fits);
        match seen {
            Seen::Row { version, .. } => State::version(version),
            _ => {
                let newest = self.entries.iter().rev().find(fits);
                newest.map_or(State::NEVER, |entry| entry.state)
            }
        }
    }

    /// Which state after this one was known first, and since when.
    fn known_after(&self, state: State) -> Option<(State, Moment)> {
        let later = self
            .entries
            .iter()
            .rev()
            .take_while(|entry| entry.state > state);
        let known = later.filter_map(|entry| Some((entry.state, entry.known?)));
        known.min_by_key(|(state, known)| (*known, *state))
    }

    fn enter(
        &mut self,
        state: State,
        collection: Collection,
        invoked: Moment,
        known: Option<Moment>,
    ) {
        let attempt = Attempt {
            collection,
            invoked,
        };
        let place = self.entries.partition_point(|entry| entry.state < state);
        match self.entries.get_mut(place) {
            Some(entry) if entry.state == state => {
                match (entry.known, known) {
                    (None, None) => entry.collections.push(attempt),
                    // Now it is certain, and may be none of those: a change by hand says only
                    // afterwards what it made.
                    (None, Some(_)) => entry.collections = vec![attempt],
                    _ => {}
                }
                entry.known = match (entry.known, known) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
            // Older than all that is remembered: it changes no judgement.
            _ if place == 0 => {}
            _ => self.entries.insert(
                place,
                Entry {
                    state,
                    collections: vec![attempt],
                    known,
                },
            ),
        }
    }

    fn forget(&mut self, now: Moment) {
        if self.entries.len() < FEW {
            return;
        }
        let old = |entry: &Entry| entry.known.is_some_and(|known| known + HORIZON < now);
        if let Some(newest) = self.entries.iter().rposition(old) {
            self.entries.drain(..newest);
        }
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.entries.len()
    }

    fn tell(&mut self, at: Moment, text: String) {
        if self.writes.len() == TRAIL {
            self.writes.pop_front();
        }
        self.writes.push_back(Event { at, text });
    }

    /// What happened to the row last, in the order of time.
    fn trail(&self) -> Vec<Event> {
        let mut trail: Vec<Event> = self.writes.iter().cloned().collect();
        trail.extend(self.reads.iter().map(|read| Event {
            at: read.returned,
            text: format!(
                "{} by session {} at process {} (invoked {}) from {:?}, age {:?}: {:?}",
                read.what,
                read.session,
                read.process,
                millis(read.invoked),
                read.origin,
                read.age,
                read.seen
            ),
        }));
        trail.sort_by_key(|event| event.at);
        trail
    }
}

fn agrees(end: Option<u64>, seen: Seen) -> bool {
    match seen {
        Seen::Row { version, .. } => end == Some(version),
        Seen::Absent => end.is_none(),
        // That it is in another collection is judged by its state.
        Seen::Outside(_) => true,
    }
}

pub(super) fn millis(span: Duration) -> String {
    format!("{:.3} ms", span.as_secs_f64() * 1000.0)
}
