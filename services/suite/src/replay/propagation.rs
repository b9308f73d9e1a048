//! How long after a write returned another replica still serves what was there before.

use super::drive::Drive;
use super::tally::Tally;
use larder::clock::Stamp;
use std::time::Duration;

/// After this long it is not news any more; the judgement of reads has found it long before.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Reads from the other replica, one read after the other and as fast as it answers, until it
/// shows the write or something later. What is noted is the time from the write's return to the
/// return of that read: an upper bound, which holds a round trip and, where the replica had to
/// fetch the value, that too.
pub async fn watch(
    drive: &Drive,
    product: usize,
    other: usize,
    (returned, version): (Stamp, u64),
    tally: &mut Tally,
) {
    loop {
        let Some(answer) = drive.read(product, other, tally).await else {
            return;
        };
        let after = answer.returned.since(returned);
        if answer.version >= version {
            tally.propagated(after);
            return;
        }
        tally.old_after_write += 1;
        if after > GIVE_UP {
            tally.never_propagated += 1;
            return;
        }
    }
}
