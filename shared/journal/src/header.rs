//! What a statement says about itself: the label of what it read.

use crate::Error;
use larder::feed::{self, Coverage};
use larder::key::Tag;
use larder::snapshot::{Epoch, Label, Snapshot, Xid};

/// The fields `snapshot|standby|has written|system|timeline`, and in a round also
/// `|low_marked|low_dropped|alive`.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) snapshot: Snapshot,
    pub(crate) standby: bool,
    /// Whether the transaction has a number: what it reads may be its own, uncommitted.
    pub(crate) written: bool,
    /// The name of the life that the database is in, or was until a moment ago.
    pub(crate) life: String,
    /// `None` where a standby cannot say for sure which timeline it follows, or no life has a name.
    pub(crate) epoch: Option<Epoch>,
    /// Whether that life goes on; only a round knows.
    pub(crate) alive: bool,
    /// `low_marked` and `low_dropped`.
    marks: Option<(Xid, Xid)>,
}

impl Header {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let mut fields = text.split('|');
        let mut field = || fields.next().ok_or_else(|| unusable("header", text));
        let snapshot = field()?;
        let snapshot = Snapshot::parse(snapshot).map_err(|_| unusable("snapshot", snapshot))?;
        let (standby, written) = (field()? == "true", field()? == "true");
        let (system, timeline) = (field()?, field()?);
        let epoch = match (system, timeline) {
            ("", _) | (_, "") => None,
            _ => Some(epoch(system, timeline)?),
        };
        let marks = match (fields.next(), fields.next()) {
            (Some(marked), Some(dropped)) => Some((number(marked)?, number(dropped)?)),
            _ => None,
        };
        Ok(Self {
            snapshot,
            standby,
            written,
            life: system.to_owned(),
            epoch,
            alive: fields.next() == Some("true"),
            marks,
        })
    }

    /// Whether the next life must begin before anything is known: this one's end was seen by the
    /// database, or by who comes from further on in it than the database is.
    pub(crate) fn has_ended(&self, known: Option<&Coverage>) -> bool {
        let went_back = |known: &Coverage| {
            self.epoch == Some(known.epoch) && !known.snapshot.within(&self.snapshot)
        };
        !self.standby && (!self.alive || known.is_some_and(went_back))
    }

    /// The label of what was read with it, if it may have one.
    pub(crate) fn label(self) -> Option<Label> {
        let epoch = self.epoch.filter(|_| !self.written)?;
        Some(match self.standby {
            true => Label::of_standby(epoch, &self.snapshot),
            false => Label {
                epoch,
                snapshot: self.snapshot,
            },
        })
    }

    /// A round without changes; a standby has none to give, nor has a life that has ended.
    pub(crate) fn round(self) -> Result<feed::Round, Error> {
        if self.standby {
            return Err(Error::Unusable("it comes from a standby".to_owned()));
        }
        if !self.alive {
            return Err(Error::Unusable("no life goes on in it".to_owned()));
        }
        let (low_marked, low_dropped) = self.marks.ok_or_else(|| unusable("header", "no marks"))?;
        Ok(feed::Round {
            epoch: self.epoch.ok_or_else(|| unusable("epoch", ""))?,
            snapshot: self.snapshot,
            low_marked,
            low_dropped,
            changes: Vec::new(),
        })
    }
}

/// The life of the database: its system is a number on SQLite and a name, of which the hash is
/// taken, on PostgreSQL; its timeline is in hexadecimal digits.
pub(crate) fn epoch(system: &str, timeline: &str) -> Result<Epoch, Error> {
    let number_of = |text| u32::from_str_radix(text, 16).map_err(|_| unusable("timeline", text));
    Ok(Epoch {
        system: system.parse().unwrap_or_else(|_| Tag::of("life", system).0),
        timeline: number_of(timeline)?,
    })
}

/// A transaction's number, or another of that kind.
pub(crate) fn number(text: &str) -> Result<Xid, Error> {
    text.parse().map_err(|_| unusable("number", text))
}

pub(crate) fn unusable(what: &str, text: &str) -> Error {
    Error::Unusable(format!("`{text}` is no {what}"))
}
