//! A copy past its soft TTL: still good, and renewed beside the reads that it answers.

use crate::behind::Behind;
use crate::cache::Keyspace;
use crate::entry::Value;
use crate::flight::Terms;
use crate::key::Key;
use crate::read::{Answer, Error, Read};
use crate::stats::Outcome;

impl<K: Key, V: Value> Keyspace<K, V> {
    /// A good copy past its soft TTL: it is the answer at once, or when its renewal takes long.
    pub(crate) async fn soft(
        self,
        key: K,
        copy: Answer<V>,
        read: Read,
    ) -> Result<Answer<V>, Error> {
        let policy = &self.0.policy;
        if policy.while_revalidate {
            self.renew_behind(&key);
        } else {
            let renewal = self.clone().renewed(key, read);
            let (done, renewed) = tokio::sync::oneshot::channel();
            self.0.source().core.spawn_behind(Behind::Load, async move {
                let _ = done.send(renewal.await);
            });
            let renewed = tokio::time::timeout(policy.soft_deadline, renewed).await;
            if let Ok(Ok(Ok(answer))) = renewed {
                return Ok(answer);
            }
        }
        self.0.counters.read(Outcome::L1);
        Ok(copy)
    }

    async fn renewed(self, key: K, read: Read) -> Result<Answer<V>, Error> {
        let terms = Terms {
            renew: Some(self.0.now()),
            ..self.terms(&read)
        };
        self.fetch_one(key, &read, terms).await
    }

    /// Renews a key that is still good, unless that is under way.
    pub(crate) fn renew_behind(&self, key: &K) {
        if self.0.flights.carries(key) {
            return;
        }
        let renewal = self.clone().renewed(key.clone(), Read::bounded());
        self.0.source().core.spawn_behind(Behind::Load, async move {
            let _ = renewal.await;
        });
    }
}
