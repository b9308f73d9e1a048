//! What a change of a table touches, in words.

/// The tables of a source whose changes are journalled. The revision is raised with every change
/// of the watches, so that a process of an older release that restarts late does not put its own
/// triggers in the place of newer ones.
#[derive(Clone, Debug)]
pub struct Watches {
    pub(crate) revision: i64,
    pub(crate) tables: Vec<Watch>,
}

impl Watches {
    /// Whether a table's lines are folded.
    pub(crate) fn folded(&self) -> bool {
        self.tables.iter().any(|watch| watch.folded)
    }

    /// The watches of this revision, none yet.
    pub fn revision(revision: i64) -> Self {
        Self {
            revision,
            tables: Vec::new(),
        }
    }

    /// Adds a table.
    pub fn watch(mut self, watch: Watch) -> Self {
        self.tables.push(watch);
        self
    }
}

/// What a change of one table touches.
#[derive(Clone, Debug)]
pub struct Watch {
    pub(crate) table: String,
    pub(crate) members: Vec<Member>,
    pub(crate) constants: Vec<(String, String)>,
    pub(crate) keyspaces: Vec<String>,
    pub(crate) folded: bool,
}

/// A tag that depends on the row: the collection, and the columns that make up the key.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) tag: String,
    pub(crate) columns: Vec<String>,
}

impl Watch {
    /// The table `name`, of which nothing is said yet.
    pub fn table(name: &str) -> Self {
        Self {
            table: name.to_owned(),
            members: Vec::new(),
            constants: Vec::new(),
            keyspaces: Vec::new(),
            folded: false,
        }
    }

    /// A change of a row touches `tag/key`, the key made of these columns as text (several are
    /// joined by `/`, a null is empty).
    pub fn row(self, tag: &str, columns: impl Columns) -> Self {
        self.collection(tag, columns)
    }

    /// A change touches the collection that the row is in, and the one that it was in before: a
    /// row that moves touches both. A null is the member with the empty key.
    pub fn collection(mut self, tag: &str, columns: impl Columns) -> Self {
        self.members.push(Member {
            tag: tag.to_owned(),
            columns: columns.names(),
        });
        self
    }

    /// Every change touches this one tag, as for a list that has no filter.
    pub fn constant(mut self, tag: &str, key: &str) -> Self {
        self.constants.push((tag.to_owned(), key.to_owned()));
        self
    }

    /// The keyspaces with values made from this table. TRUNCATE touches them whole, and they are
    /// what must be refused while the table's triggers are off.
    pub fn keyspaces(mut self, names: &[&str]) -> Self {
        self.keyspaces
            .extend(names.iter().map(|&name| name.to_owned()));
        self
    }

    /// Rows come in bulk, and many of them touch the same few collections: within one transaction
    /// a line is written once, however many rows touch it. Each row then looks for its lines among
    /// those that its transaction has written, so this is not for tables whose every row has a tag
    /// of its own.
    ///
    /// PostgreSQL does it in every transaction. SQLite does not number transactions, and does it
    /// in those that [`begin_bulk`](crate::Journal::begin_bulk) begins; in any other, each row
    /// writes its lines.
    pub fn folded(mut self) -> Self {
        self.folded = true;
        self
    }
}

/// One column, or several: `"id"`, `["order_id", "line"]`.
pub trait Columns {
    /// Their names.
    fn names(self) -> Vec<String>;
}

impl Columns for &str {
    fn names(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl<const N: usize> Columns for [&str; N] {
    fn names(self) -> Vec<String> {
        self.map(str::to_owned).into()
    }
}
