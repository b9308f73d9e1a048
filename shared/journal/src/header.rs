//! What a statement says about itself: the label of what it read.

use crate::Error;
use larder::feed;
use larder::snapshot::{Epoch, Label, Snapshot, Xid};

/// The fields `snapshot|standby|has written|system|timeline`, and in a round also
/// `|low_marked|low_dropped`.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) snapshot: Snapshot,
    pub(crate) standby: bool,
    /// Whether the transaction has a number: what it reads may be its own, uncommitted.
    pub(crate) written: bool,
    /// `None` where a standby cannot say for sure which timeline it follows.
    pub(crate) epoch: Option<Epoch>,
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
        let epoch = match timeline {
            "" => None,
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
            epoch,
            marks,
        })
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

    /// A round without changes; a standby has none to give.
    pub(crate) fn round(self) -> Result<feed::Round, Error> {
        if self.standby {
            return Err(Error::Unusable("it comes from a standby".to_owned()));
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

/// The life of the database: its system in decimal, its timeline in hexadecimal digits.
pub(crate) fn epoch(system: &str, timeline: &str) -> Result<Epoch, Error> {
    let number_of = |text| u32::from_str_radix(text, 16).map_err(|_| unusable("timeline", text));
    Ok(Epoch {
        system: number(system)?,
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
