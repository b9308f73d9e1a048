//! Between the contract's messages and the cache's types.

use larder::feed::{self, Change, Coverage, Round};
use larder::{Epoch, Label, Snapshot, Tag};
use larder_proto::cache::v1 as wire;

/// A message that lacks a part, or whose parts contradict each other.
pub(crate) fn unusable(what: &str) -> feed::Error {
    feed::Error::Unusable(format!("the answer has no usable {what}"))
}

pub(crate) fn epoch_out(epoch: Epoch) -> wire::Epoch {
    wire::Epoch {
        system: epoch.system,
        timeline: epoch.timeline,
    }
}

pub(crate) fn snapshot_out(snapshot: &Snapshot) -> wire::Snapshot {
    wire::Snapshot {
        xmin: snapshot.xmin(),
        xmax: snapshot.xmax(),
        in_progress: snapshot.in_progress().to_vec(),
    }
}

pub(crate) fn epoch_in(epoch: Option<wire::Epoch>) -> Option<Epoch> {
    epoch.map(|epoch| Epoch {
        system: epoch.system,
        timeline: epoch.timeline,
    })
}

pub(crate) fn snapshot_in(snapshot: Option<wire::Snapshot>) -> Option<Snapshot> {
    let snapshot = snapshot?;
    Snapshot::new(snapshot.xmin, snapshot.xmax, snapshot.in_progress).ok()
}

pub(crate) fn coverage_out(coverage: &Coverage) -> wire::Coverage {
    wire::Coverage {
        epoch: Some(epoch_out(coverage.epoch)),
        snapshot: Some(snapshot_out(&coverage.snapshot)),
        low_marked: coverage.low_marked,
    }
}

pub(crate) fn coverage_in(coverage: wire::Coverage) -> Option<Coverage> {
    Some(Coverage {
        epoch: epoch_in(coverage.epoch)?,
        snapshot: snapshot_in(coverage.snapshot)?,
        low_marked: coverage.low_marked,
    })
}

pub(crate) fn label_out(label: &Label) -> wire::Label {
    wire::Label {
        epoch: Some(epoch_out(label.epoch)),
        snapshot: Some(snapshot_out(&label.snapshot)),
    }
}

pub(crate) fn label_in(label: wire::Label) -> Option<Label> {
    Some(Label {
        epoch: epoch_in(label.epoch)?,
        snapshot: snapshot_in(label.snapshot)?,
    })
}

pub(crate) fn round_out(round: Round) -> wire::GetRoundResponse {
    let change = |change: Change| wire::Change {
        tag: change.tag.0,
        xid: change.xid,
    };
    wire::GetRoundResponse {
        epoch: Some(epoch_out(round.epoch)),
        snapshot: Some(snapshot_out(&round.snapshot)),
        low_marked: round.low_marked,
        low_dropped: round.low_dropped,
        changes: round.changes.into_iter().map(change).collect(),
    }
}

pub(crate) fn round_in(round: wire::GetRoundResponse) -> Result<Round, feed::Error> {
    let change = |change: wire::Change| Change {
        tag: Tag(change.tag),
        xid: change.xid,
    };
    Ok(Round {
        epoch: epoch_in(round.epoch).ok_or_else(|| unusable("epoch"))?,
        snapshot: snapshot_in(round.snapshot).ok_or_else(|| unusable("snapshot"))?,
        low_marked: round.low_marked,
        low_dropped: round.low_dropped,
        changes: round.changes.into_iter().map(change).collect(),
    })
}
