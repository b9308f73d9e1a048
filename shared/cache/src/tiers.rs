//! Which tiers a process's cache uses: all of them, unless somebody wants to know what one brings.

/// Where a process looks for a value before it asks the source, and where it keeps one.
///
/// The promises hold in every mode: an answer is within its bound, reflects the tokens it is shown
/// and says truly where it came from and how old it is. What changes is what an answer costs.
///
/// Processes of different modes may share a remote tier. One that has [`None`](Tiers::None) tells
/// the others nothing of its writes; they learn of them from the source's feed, as they do when a
/// hint is lost, and values of a source without a feed live for their Δ.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Tiers {
    /// This process's memory, and the remote tier behind it.
    #[default]
    Both,
    /// The remote tier alone: nothing is kept in this process's memory and nothing looked for
    /// there, memos included. Every read asks the remote tier, by the same rule, and then the
    /// source. Reads of one key at one time still share one answer, and one process of all loads.
    RemoteOnly,
    /// No cache: every read goes to the source, in a load of its own which no other read joins. A
    /// batch is still one load. The remote tier is neither asked nor told anything, so that there
    /// are no advisory locks and no hints. What bounds the loads, and the feed, stay.
    None,
}

impl Tiers {
    /// Whether values are kept in this process's memory.
    pub fn memory(self) -> bool {
        self == Self::Both
    }

    /// How much memory may be taken, of what a policy allows.
    pub(crate) fn memory_of(self, capacity_bytes: u64) -> u64 {
        if self.memory() { capacity_bytes } else { 0 }
    }

    /// Whether the remote tier is asked and told.
    pub fn remote(self) -> bool {
        self != Self::None
    }
}
