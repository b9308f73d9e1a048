//! What loaders answer, given what the journal read.

use larder::{Loaded, Proof, Tag, load};
use larder_db::Error as Db;
use larder_journal::{Error, Labelled, Standing};

/// How what was read may be believed.
pub fn proof(read: &Labelled) -> Proof {
    match (&read.label, read.standing) {
        (Some(label), Standing::Primary) => Proof::Primary(label.clone()),
        (Some(label), Standing::Standby) => Proof::Claim(label.clone()),
        (None, _) => Proof::None,
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
