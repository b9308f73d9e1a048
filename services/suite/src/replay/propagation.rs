//! How long after a write returned another replica still serves what was there before.

use super::drive::Drive;
use super::tally::Tally;
use larder::clock::Stamp;
use std::time::Duration;

/// After this long it is not news any more; the judgement of reads has found it long before.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Reads from the other replica, one read after the other and as fast as it answers, until it
/// shows the write or something later. Two times are noted, both from the write's return: when
/// the first read that did not get the old value was asked for, which is when the old value was
/// gone, to within a round trip; and when that read returned, which is later by the round trip
/// and, where the replica had to fetch the value, by that too.
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
        if answer.version >= version {
            let (gone, shown) = (answer.invoked, answer.returned);
            tally.propagated(gone.since(returned), shown.since(returned));
            return;
        }
        tally.old_after_write += 1;
        if answer.returned.since(returned) > GIVE_UP {
            tally.never_propagated += 1;
            return;
        }
    }
}
