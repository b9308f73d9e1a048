//! Hints: what this process wrote, told to the others at once, and what they tell it.
//!
//! A hint may be lost, late or twice; the rounds make up for it.

use super::{Inner, Source};
use crate::digest::Hinted;
use crate::feed::{self, Line, Written};
use crate::hint::{Hint, Pushed};
use crate::key::Tag;
use crate::remote::{Event, Remote as _};
use crate::snapshot::{Epoch, Token};
use crate::stats::SourceCounters;
use crate::trace;
use crate::watch::{Mover, What};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::Instrument as _;

impl Source {
    /// To be told of every committed write of this process: moves what it touched here, tells
    /// the other processes, and returns the receipt.
    ///
    /// Run it, like the commit before it, as a task that a caller who hangs up does not stop.
    pub async fn wrote(&self, written: Written) -> Token {
        self.announce(written, Vec::new()).await
    }

    pub(crate) async fn announce(&self, written: Written, pushed: Vec<Pushed>) -> Token {
        let token = written.token(self.0.hash);
        self.apply_own(&written);
        self.publish(written, true, pushed).await;
        token
    }

    pub(crate) fn apply_own(&self, written: &Written) {
        let hinted = self.0.digest.apply_hint(written);
        SourceCounters::add(&self.0.counters.moved_own, written.tags.len());
        if matches!(hinted, Hinted::Applied | Hinted::Overflowed) {
            self.0.tell_moved(&written.tags, Mover::Own);
        }
    }

    /// Moves what these lines name, everywhere: through the feed where there is one, so that no
    /// process misses it, otherwise by hint alone.
    pub async fn invalidate(&self, lines: &[Line]) -> Result<Option<Token>, feed::Error> {
        if let Some(feed) = &self.0.feed {
            let written = feed.touch(lines).await?;
            return Ok(Some(self.wrote(written).await));
        }
        let tags: Vec<Tag> = lines.iter().map(Line::tag).collect();
        self.0.digest.touch(&tags);
        SourceCounters::add(&self.0.counters.moved_own, tags.len());
        self.0.tell_moved(&tags, Mover::Own);
        self.publish(unjournalled(tags), false, Vec::new()).await;
        Ok(None)
    }

    /// Sends values into every process's memory; each judges them by their labels.
    pub(crate) async fn spread(&self, pushed: Vec<Pushed>) {
        let nothing = unjournalled(Vec::new());
        self.publish(nothing, false, pushed).await;
    }

    pub(crate) async fn publish(&self, written: Written, journalled: bool, pushed: Vec<Pushed>) {
        if !self.0.core.tiers.remote() {
            return;
        }
        let span = trace::sent(&self.0.name, written.tags.len());
        let sending = self.send(written, journalled, pushed);
        sending.instrument(span).await;
    }

    async fn send(&self, written: Written, journalled: bool, pushed: Vec<Pushed>) {
        let inner = &self.0;
        let hint = Hint {
            source: inner.hash,
            sender: inner.core.id,
            sent_micros: inner.core.wall_micros(),
            written,
            journalled,
            pushed,
            place: (inner.core.tracing.current)(),
        };
        let message = hint.encode(&inner.channel, inner.core.seal.as_ref());
        let sent = inner.core.remote.publish(&inner.channel, message).await;
        if sent.is_err() {
            // The other processes learn of it by their next poll.
            SourceCounters::add(&inner.counters.hints_lost, 1);
        }
    }

    fn heed(&self, message: bytes::Bytes) {
        let inner = &self.0;
        let counters = &inner.counters;
        let hint = Hint::decode(message, &inner.channel, inner.core.seal.as_ref());
        let Some(hint) = hint.filter(|hint| hint.source == inner.hash) else {
            SourceCounters::add(&counters.hints_malformed, 1);
            return;
        };
        if hint.sender == inner.core.id {
            return;
        }
        let span = trace::heard(&inner.core.tracing, &inner.name, &hint);
        let _within = span.enter();
        if hint.journalled {
            self.heed_written(&hint);
        } else if inner.feed.is_none() {
            // Believed only where there is nothing better.
            inner.digest.touch(&hint.written.tags);
            SourceCounters::add(&counters.hints_applied, 1);
            SourceCounters::add(&counters.moved_hint, hint.written.tags.len());
            inner.tell_moved(&hint.written.tags, Mover::Hint);
        }
        for pushed in hint.pushed {
            if let Some(keyspace) = self.find(&pushed.keyspace) {
                keyspace.admit(&pushed.key, pushed.parcel);
            }
        }
    }

    fn heed_written(&self, hint: &Hint) {
        let (inner, counters) = (&self.0, &self.0.counters);
        let hinted = inner.digest.apply_hint(&hint.written);
        trace::heeded(hinted.word());
        match hinted {
            Hinted::Applied | Hinted::Overflowed => {
                SourceCounters::add(&counters.hints_applied, 1);
                SourceCounters::add(&counters.moved_hint, hint.written.tags.len());
                let took = inner.core.wall_micros().saturating_sub(hint.sent_micros);
                inner.propagation.note(Duration::from_micros(took));
                inner.tell_moved(&hint.written.tags, Mover::Hint);
            }
            Hinted::Known => SourceCounters::add(&counters.hints_known, 1),
            Hinted::Foreign => SourceCounters::add(&counters.hints_foreign, 1),
        }
    }
}

impl Inner {
    fn tell_moved(&self, tags: &[Tag], by: Mover) {
        self.tell_watchers(|| What::moved(tags.iter().copied(), by));
    }
}

/// What no journal tells of.
fn unjournalled(tags: Vec<Tag>) -> Written {
    Written {
        epoch: Epoch::NONE,
        xid: 0,
        tags,
    }
}

/// Heeds what arrives, until the subscription ends.
pub(super) async fn listen(source: Source, mut events: mpsc::Receiver<Event>) {
    let inner = &source.0;
    while let Some(event) = events.recv().await {
        match event {
            Event::Message(message) => source.heed(message),
            Event::Up => tracing::debug!(source = &*inner.name, "hints arrive"),
            Event::Down => tracing::debug!(source = &*inner.name, "hints may be lost"),
        }
    }
}
