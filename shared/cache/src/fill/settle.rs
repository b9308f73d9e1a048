//! What becomes of a loaded value: an entry, kept where its proof allows.

use super::Fill;
use crate::clock::Stamp;
use crate::entry::{Draft, Entry, Value};
use crate::judge::Seq;
use crate::key::Key;
use crate::load::{Loaded, Proof};
use crate::read::Error;
use crate::remote::Item;
use std::sync::Arc;

impl<K: Key, V: Value> Fill<K, V> {
    /// Makes an entry of what was loaded, and keeps it where its proof allows.
    ///
    /// Who owns the source was told what the callers want, so that its answer is one even where it
    /// cannot be kept. What a standby shows is judged as what lies in the remote tier, and where it
    /// is refused there is no answer: nobody knows how far behind it is.
    pub(super) fn settle(
        &self,
        index: usize,
        loaded: Loaded<V>,
        captured: Seq,
        asked_at: Stamp,
        items: &mut Vec<Item>,
    ) -> Result<Arc<Entry<V>>, Error> {
        let (key, text) = (&self.keys[index], self.text(index));
        let keyspace = &self.keyspace;
        let digest = &keyspace.source().digest;
        let (by_owner, allowed) = (keyspace.loader.asks_owner(), self.terms.max_staleness);
        let mut tags = keyspace.all_tags(key, text, &loaded.tags);
        // What an owner tells, and no label vouches for, is as old as was allowed.
        let told_at = || {
            let allowed = u64::try_from(allowed.as_nanos()).unwrap_or(u64::MAX);
            Stamp::from_nanos(asked_at.as_nanos().saturating_sub(allowed))
        };
        // An answer that may not be kept has no cells to watch.
        let mut draft = Draft {
            value: loaded.value,
            captured,
            loaded_at: asked_at,
            cells: Default::default(),
            label: None,
            tags: loaded.tags.into(),
        };
        let mut label = None;
        let kept = match loaded.proof {
            Proof::Primary(read_under) => {
                let kept = digest.epoch().is_none_or(|epoch| epoch == read_under.epoch);
                label = Some(read_under);
                tags.pop();
                draft.cells = digest.cells(&tags);
                kept
            }
            Proof::Claim(claimed) => {
                // Before the label is judged, which has to show what tokens stand for by then.
                let proof_will_do = self.proof_will_do();
                let in_time = |proven_at| keyspace.now().since(proven_at) <= allowed;
                match digest.admit(&claimed, &tags) {
                    Ok(mut admission)
                        if by_owner || (proof_will_do && in_time(admission.proven_at)) =>
                    {
                        admission.cells.pop();
                        (draft.captured, draft.loaded_at) =
                            (admission.captured, admission.proven_at);
                        draft.cells = admission.cells;
                        label = Some(claimed);
                        true
                    }
                    _ if by_owner => {
                        draft.loaded_at = told_at();
                        false
                    }
                    _ => return Err(keyspace.unavailable("a standby may be behind")),
                }
            }
            Proof::None => {
                if by_owner {
                    draft.loaded_at = told_at();
                }
                tags.pop();
                draft.cells = digest.cells(&tags);
                keyspace.source().feed.is_none()
            }
        };
        draft.label = label
            .as_ref()
            .map(|label| (label.epoch, label.snapshot.xmin()));
        // What may not be kept has expired: those who called before it was loaded get it, and to
        // anybody else it is no cached value.
        let lives = || keyspace.lives(draft.value.is_none());
        let (soft, hard) = if kept { lives() } else { Default::default() };
        let now = keyspace.now();
        let entry = Arc::new(draft.until(now.after(soft), now.after(hard)));
        if kept {
            keyspace.local.insert(key.clone(), entry.clone());
            let name = || self.names[index].clone();
            items.extend(label.and_then(|label| keyspace.item(name(), &entry, label)));
        }
        Ok(entry)
    }
}
