//! Whether the source's changes are all journalled. While they are not, nothing cached is served:
//! reads go to the source, and other services are given neither rounds nor values.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many triggers are missing, off or different. Clones are of the same source.
#[derive(Clone, Default, Debug)]
pub(crate) struct Doubt(Arc<AtomicUsize>);

impl Doubt {
    /// Whether there is any. Looked at on every read.
    #[inline]
    pub(crate) fn is_raised(&self) -> bool {
        self.flaws() > 0
    }

    pub(crate) fn flaws(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes how many flaws there are, and says whether that is news.
    pub(crate) fn note(&self, flaws: usize) -> bool {
        self.0.swap(flaws, Ordering::Relaxed) != flaws
    }
}
