//! What loaders answer, given what the journal read.

use larder::{Epoch, Label, Loaded, Proof, Snapshot, Tag, load};
use larder_db::Error as Db;
use larder_journal::{Error, Labelled, Standing};

/// How what was read may be believed.
pub fn proof(read: &Labelled) -> Proof {
    match (&read.label, read.standing) {
        (Some(label), Standing::Primary) => Proof::Primary(label.clone()),
        (Some(label), Standing::Standby) => Proof::Claim(label.clone()),
        (None, Standing::Primary) => Proof::None,
        // Between timelines: nobody can say what it shows, and so it is not believed at all.
        (None, Standing::Standby) => Proof::Claim(Label {
            epoch: Epoch::NONE,
            snapshot: Snapshot::up_to(0),
        }),
    }
}

/// A value, or its absence, that depends on nothing beside what its key says.
pub fn loaded<V>(value: Option<V>, proof: Proof) -> Loaded<V> {
    Loaded {
        value,
        tags: Vec::<Tag>::new(),
        proof,
    }
}

/// Why a load failed: what may pass, or what does not.
pub fn error(error: Error) -> load::Error {
    match error {
        Error::Database(Db::Unavailable(_) | Db::TimedOut(_) | Db::Busy(_))
        // A standby that cannot say yet what it follows.
        | Error::Unusable(_) => load::Error::unavailable(error),
        _ => load::Error::failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_standby_shows_is_a_claim_whatever_it_knows_of_itself() {
        let read = |standing| Labelled {
            label: None,
            standing,
            rows: Vec::new(),
        };
        assert_eq!(proof(&read(Standing::Primary)), Proof::None);
        let standby = proof(&read(Standing::Standby));
        assert!(matches!(standby, Proof::Claim(label) if label.epoch == Epoch::NONE));
    }
}
