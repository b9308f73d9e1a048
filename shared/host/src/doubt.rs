//! Whether the source's changes are all journalled. While they are not, nothing cached is served:
//! reads go to the source, and other services are given neither rounds nor values.

use larder::{Freshness, Read};
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

    /// How a caller is answered who wants to read so: while there is doubt from the source, and by
    /// no last value. A change that nobody told of moves nothing, so that a copy from before it
    /// would pass for one that was proven a moment ago.
    #[inline]
    pub(crate) fn judge(&self, read: Read) -> Read {
        match self.is_raised() {
            false => read,
            true => Read {
                freshness: Freshness::Strong,
                never_stale: true,
                ..read
            },
        }
    }

    pub(crate) fn flaws(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes how many flaws there are, and says whether that is news.
    pub(crate) fn note(&self, flaws: usize) -> bool {
        self.0.swap(flaws, Ordering::Relaxed) != flaws
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_there_is_doubt_nothing_cached_is_served_not_even_as_a_last_value() {
        let doubt = Doubt::default();
        for wanted in [Read::bounded(), Read::any(), Read::strong()] {
            doubt.note(0);
            assert_eq!(doubt.judge(wanted.clone()), wanted);
            doubt.note(1);
            assert_eq!(doubt.judge(wanted), Read::strong().never_stale());
        }
    }
}
