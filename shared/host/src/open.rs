//! Opening what a service needs, for as long as that takes.

use crate::base::{Base, Opening};
use crate::error::{Error, told};
use crate::parts::Timing;
use crate::service::Service;
use larder_runtime::readiness::Gate;
use rand::Rng as _;
use std::time::Duration;
use tokio::time::Instant;

/// The pause after the first failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Opens the service's database and source. While the database is away it is tried again, with
/// pauses that grow to a bound; the gate says why, and the log once for each reason. An error
/// that does not mend itself ends it, and so does a schema that nobody brings up to date.
pub(crate) async fn until_open<S: Service>(
    service: &S,
    opening: &Opening,
    gate: &Gate,
    timing: &Timing,
) -> Result<Base, Error> {
    let mut pause = FIRST_PAUSE;
    let mut behind_since = None;
    let mut said = String::new();
    loop {
        let error = match Base::open(service, opening).await {
            Ok(base) => return Ok(base),
            Err(error) if !error.may_pass() => return Err(error),
            Err(error) => error,
        };
        if error.is_behind() {
            let since = *behind_since.get_or_insert_with(Instant::now);
            if since.elapsed() > timing.schema {
                return Err(error);
            }
        } else {
            behind_since = None;
        }
        let reason = told(&error);
        gate.shut(&reason);
        if reason != said {
            tracing::warn!(
                service.name = service.name(),
                reason,
                "waiting for the database"
            );
            said = reason;
        }
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 2).min(timing.longest_pause);
    }
}

/// Between half of it and all, so that replicas which lost their database together do not come
/// back together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}
