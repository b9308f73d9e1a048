//! What a run may do: a script of transactions, some keys, and which of the world's misfortunes
//! can happen. A scenario keeps the states few enough to look at all of them.

use crate::database::Set;
use larder::Tag;
use smallvec::SmallVec;

/// At most this many keys.
pub const KEYS: usize = 2;

/// At most this many transactions.
pub const SCRIPT: usize = 8;

/// Rows; with four hashed cells each has one of its own.
pub const A: Tag = Tag(0);
/// Another row.
pub const B: Tag = Tag(1);
/// A row that nobody reads.
pub const C: Tag = Tag(2);
/// The keyspace that keys are in.
pub const K: Tag = Tag(7);
/// Another one.
pub const J: Tag = Tag(11);

/// Every keyspace: `Tag::all()`, which is a hash.
pub const EVERYTHING: Tag = Tag(1_064_779_664_456_547_259);

/// A key: what its value depends on.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Beside its keyspace.
    pub tags: &'static [Tag],
    /// Its keyspace.
    pub keyspace: Tag,
}

/// See the module's documentation. Where nothing else is said, a number is how often something
/// may happen.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is about.
    pub name: &'static str,
    /// The tags of each transaction, in the order in which they begin.
    pub script: &'static [&'static [Tag]],
    /// The keys that are read.
    pub keys: &'static [Key],
    /// Cells for tags.
    pub hashed: usize,
    /// Keyspaces that are open from the start.
    pub open_keyspaces: &'static [Tag],
    /// A keyspace that is opened some time.
    pub late_keyspace: Option<Tag>,
    /// Whether a reader and the lock's holder take turns at each access to the memory; else each
    /// of them is done in one go.
    pub fine: bool,
    /// Whether transactions may abort.
    pub aborts: bool,
    /// Whether hints arrive.
    pub hints: bool,
    /// Whether a true hint may arrive before its transaction commits, as a lie can.
    pub early_hints: bool,
    /// Forged hints: a number, and tags.
    pub lies: &'static [(u64, &'static [Tag])],
    /// Room for pending hints.
    pub pending_hints: usize,
    /// Rounds that an unconfirmed hint is kept for.
    pub pending_rounds: u32,
    /// Whether readers show tokens.
    pub tokens: bool,
    /// Loads of the process's own.
    pub loads: u8,
    /// Rounds that are asked for.
    pub polls: u8,
    /// Values that come from the remote tier, a standby, or another service.
    pub takes: u8,
    /// Whether values come from standbys too.
    pub standby: bool,
    /// Whether entries are told to another service.
    pub tells: bool,
    /// Drops of old lines.
    pub prunes: u8,
    /// New lives.
    pub restores: u8,
    /// Restarts of the process.
    pub restarts: u8,
    /// Whether the feed may answer with a past that lacks what was seen.
    pub feed_goes_back: bool,
    /// Whether a load may read the primary of the life before.
    pub old_primary: bool,
}

/// Nothing happens.
const QUIET: Scenario = Scenario {
    name: "",
    script: &[],
    keys: &[Key {
        tags: &[A],
        keyspace: K,
    }],
    hashed: 4,
    open_keyspaces: &[K],
    late_keyspace: None,
    fine: false,
    aborts: false,
    hints: false,
    early_hints: false,
    lies: &[],
    pending_hints: 4,
    pending_rounds: 2,
    tokens: false,
    loads: 0,
    polls: 0,
    takes: 0,
    standby: false,
    tells: false,
    prunes: 0,
    restores: 0,
    restarts: 0,
    feed_goes_back: false,
    old_primary: false,
};

impl Scenario {
    /// All tags of a key, its keyspace's last.
    pub fn tags(&self, key: u8) -> SmallVec<[Tag; 4]> {
        let Key { tags, keyspace } = self.keys[usize::from(key)];
        tags.iter().copied().chain([keyspace]).collect()
    }

    /// A tag's name in a story.
    pub fn tag_name(tag: Tag) -> &'static str {
        match tag {
            A => "row A",
            B => "row B",
            C => "row C",
            K => "keyspace K",
            J => "keyspace J",
            _ => "everything",
        }
    }

    /// The transactions that change a key's value.
    pub fn concerning(&self, key: u8) -> Set {
        let tags = self.tags(key);
        let concerns = |touched: &&[Tag]| {
            let depends = |tag: &Tag| *tag == EVERYTHING || tags.contains(tag);
            touched.iter().any(depends)
        };
        let script = self.script.iter().enumerate();
        script
            .filter(|(_, touched)| concerns(touched))
            .fold(0, |set, (index, _)| set | 1 << index)
    }
}

/// One row, written again and again.
pub const WRITES: Scenario = Scenario {
    name: "writes",
    script: &[&[A], &[A]],
    hints: true,
    tokens: true,
    loads: 2,
    polls: 3,
    takes: 1,
    standby: true,
    ..QUIET
};

/// Two rows, so that transactions overlap that have nothing to do with each other.
pub const OVERLAPS: Scenario = Scenario {
    name: "overlaps",
    script: &[&[A], &[B], &[A]],
    aborts: true,
    loads: 1,
    polls: 2,
    takes: 1,
    ..QUIET
};

/// Readers and the lock's holder, one access to the memory at a time.
pub const TURNS: Scenario = Scenario {
    name: "turns",
    script: &[&[A], &[A]],
    fine: true,
    hints: true,
    tokens: true,
    loads: 1,
    polls: 2,
    ..QUIET
};

/// The same, for values from elsewhere.
pub const TURNS_ELSEWHERE: Scenario = Scenario {
    name: "turns elsewhere",
    takes: 2,
    loads: 0,
    script: &[&[A]],
    ..TURNS
};

/// Old lines are dropped.
pub const PRUNING: Scenario = Scenario {
    name: "pruning",
    script: &[&[A], &[A]],
    loads: 1,
    polls: 3,
    takes: 1,
    prunes: 1,
    restarts: 1,
    ..QUIET
};

/// The database is restored, or promoted.
pub const LIVES: Scenario = Scenario {
    name: "lives",
    script: &[&[A], &[A]],
    hints: true,
    tokens: true,
    loads: 1,
    polls: 2,
    takes: 1,
    restores: 1,
    ..QUIET
};

/// The primary of the life before still answers some of the loads.
pub const OLD_PRIMARY: Scenario = Scenario {
    name: "old primary",
    script: &[&[A], &[A]],
    loads: 2,
    polls: 2,
    restores: 1,
    old_primary: true,
    ..QUIET
};

/// Somebody forges hints for transactions that there are, or will be.
pub const LIES: Scenario = Scenario {
    name: "lies",
    script: &[&[A], &[A]],
    hints: true,
    lies: &[(1, &[C]), (2, &[A, C])],
    tokens: true,
    loads: 1,
    polls: 2,
    takes: 1,
    ..QUIET
};

/// Somebody knows what will be written, and says so before it is.
pub const EARLY: Scenario = Scenario {
    name: "early hints",
    script: &[&[A], &[A]],
    hints: true,
    early_hints: true,
    loads: 1,
    polls: 3,
    takes: 1,
    ..QUIET
};

/// More hints than the list has room for.
pub const OVERFLOW: Scenario = Scenario {
    name: "overflow",
    script: &[&[A], &[B]],
    keys: &[Key {
        tags: &[A, B],
        keyspace: K,
    }],
    hints: true,
    pending_hints: 1,
    tokens: true,
    loads: 1,
    polls: 3,
    takes: 1,
    ..QUIET
};

/// Entries are told to another service, with a label.
pub const TOLD: Scenario = Scenario {
    name: "told",
    script: &[&[A], &[A]],
    fine: true,
    loads: 1,
    polls: 3,
    takes: 1,
    tells: true,
    ..QUIET
};

/// A keyspace is opened when its lines, and entries that depend on it, are there already.
pub const KEYSPACES: Scenario = Scenario {
    name: "keyspaces",
    script: &[&[K], &[EVERYTHING]],
    keys: &[
        Key {
            tags: &[A],
            keyspace: K,
        },
        Key {
            tags: &[B, K],
            keyspace: J,
        },
    ],
    open_keyspaces: &[J],
    late_keyspace: Some(K),
    loads: 1,
    polls: 3,
    takes: 1,
    ..QUIET
};

/// The feed answers now and then with what it said long ago.
pub const BACKWARDS: Scenario = Scenario {
    name: "backwards",
    script: &[&[A], &[A]],
    loads: 1,
    polls: 3,
    takes: 1,
    feed_goes_back: true,
    ..QUIET
};

/// All tags share one cell.
pub const COLLISION: Scenario = Scenario {
    name: "collision",
    hashed: 1,
    script: &[&[A], &[B]],
    hints: true,
    loads: 1,
    polls: 2,
    takes: 1,
    ..QUIET
};

/// All of it at once, for walks: too many states to look at them all.
pub const WILD: Scenario = Scenario {
    name: "wild",
    script: &[
        &[A],
        &[B],
        &[A, C],
        &[K],
        &[A],
        &[EVERYTHING],
        &[B],
        &[A, B],
    ],
    keys: &[
        Key {
            tags: &[A],
            keyspace: K,
        },
        Key {
            tags: &[A, B, K],
            keyspace: J,
        },
    ],
    open_keyspaces: &[J],
    late_keyspace: Some(K),
    fine: true,
    aborts: true,
    hints: true,
    lies: &[(1, &[C]), (3, &[A]), (5, &[B, C])],
    pending_hints: 2,
    tokens: true,
    loads: 8,
    polls: 12,
    takes: 6,
    standby: true,
    tells: true,
    prunes: 2,
    restores: 2,
    restarts: 1,
    feed_goes_back: true,
    old_primary: true,
    ..QUIET
};

/// The same with hints that come before their transactions commit. Whoever forges those can make
/// a token vouch for less than it should, which the seal key is for; so no tokens.
pub const WILD_AND_EARLY: Scenario = Scenario {
    name: "wild, early hints",
    early_hints: true,
    tokens: false,
    ..WILD
};

/// The same with one cell for all tags, and without lies, so that speed is looked at too.
pub const WILD_COLLISION: Scenario = Scenario {
    name: "wild, one cell",
    hashed: 1,
    lies: &[],
    pending_hints: 9,
    ..WILD
};

/// What is walked at random.
pub const WALKED: &[Scenario] = &[WILD, WILD_AND_EARLY, WILD_COLLISION];

/// Every scenario that is looked at as a whole.
pub const ALL: &[Scenario] = &[
    WRITES,
    OVERLAPS,
    TURNS,
    TURNS_ELSEWHERE,
    PRUNING,
    LIVES,
    OLD_PRIMARY,
    LIES,
    EARLY,
    OVERFLOW,
    TOLD,
    KEYSPACES,
    BACKWARDS,
    COLLISION,
];

impl Scenario {
    /// With more of everything that has a bound.
    pub fn deeper(self) -> Scenario {
        let more = |most: u8| if most == 0 { 0 } else { most + 1 };
        Scenario {
            loads: more(self.loads),
            polls: more(self.polls),
            takes: more(self.takes),
            prunes: more(self.prunes),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_the_tag_of_all() {
        assert_eq!(EVERYTHING, Tag::all());
    }
}
