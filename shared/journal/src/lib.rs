//! The journal: what changed in a database, known from the database itself.
//!
//! It owns the tables `journal` and `journal_state`, on PostgreSQL also `journal_life` and
//! `journal_pulse`, and the triggers that write the first.
//! Each line says that a transaction touched a tag: a row, a collection that the row is or was a
//! member of, or a whole keyspace. This crate never names a table of its callers; they describe
//! theirs as a [`Watch`].
//!
//! In reading order: [`Watch`] (what a change of a table touches), [`Journal`] (installing,
//! checking), `feed` (rounds: what is new since a snapshot),
//! [`Follower`] (the same for the keys of one collection, in words), `read` (values with their label),
//! [`Write`] (a transaction that reads its own lines back), `prune` (forgetting in two steps), `life`
//! (what ends when a database crashes or is restored).
//! The SQL of each engine stands in `sql/`.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use larder_db::{Database, args};
//! use larder_journal::{Journal, Watch, Watches};
//!
//! let db = Database::open("sqlite://data/notes.db").await?;
//! // The tables come first, by db.migrate(…); then the triggers on them.
//! let notes = Watch::table("notes")
//!     .row("notes", "id")
//!     .collection("notes.author", "author_id")
//!     .keyspaces(&["notes", "notes.list"]);
//! let journal = Journal::install(db, Watches::revision(1).watch(notes)).await?;
//!
//! let read = journal.read("SELECT text FROM notes WHERE id = $1", args![7]).await?;
//! let mut write = journal.begin().await?;
//! write.execute("UPDATE notes SET text = $2 WHERE id = $1", args![7, "new"]).await?;
//! let written = write.commit().await?;
//! # let _ = (read, written);
//! # Ok(())
//! # }
//! ```
//!
//! What it cannot see, on either engine: DDL (a column that is dropped, a partition attached or
//! truncated by itself). Who does that afterwards touches the keyspace: [`Journal`] is a
//! [`larder::feed::Feed`], and `touch` takes lines in words. On SQLite a foreign shell that does
//! INSERT OR REPLACE without `recursive_triggers` hides the row it replaced. Who puts an older copy in
//! the place of a SQLite file, or of the data folder of a PostgreSQL that was shut down in peace, must
//! call [`Journal::new_epoch`]: nothing in the copy tells that it is one.

mod check;
mod error;
mod feed;
mod follow;
mod header;
mod install;
mod journal;
mod life;
mod prune;
mod read;
mod sql;
mod watch;
mod write;

pub use check::{Flaw, Problem};
pub use error::Error;
pub use follow::{Follower, News};
pub use journal::{Journal, Settings};
pub use prune::Pruned;
pub use read::{Labelled, Standing};
pub use watch::{Columns, Watch, Watches};
pub use write::Write;
