//! The rate limit as a script, so that one round trip reads, decides and writes.

use super::words::{accepted, unexpected};
use crate::remote::Error;
use crate::remote::rate::{Rate, Throttled};
use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind, Value};
use std::sync::LazyLock;

/// The same steps as [`Rate::pass`]. The time is the server's, so that no two processes' clocks
/// are ever compared; what is no number (or none that compares) is as good as nothing; and the
/// state ends by itself when it says no more than that a whole burst may pass.
///
/// A script that writes after asking for the time needs Redis 5 or later.
const SCRIPT: &str = "local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = now + interval * burst
local arrival = tonumber(redis.call('GET', KEYS[1]) or '')
if not (arrival and arrival > now) then arrival = now end
if arrival > full then arrival = full end
local granted = math.min(wanted, math.floor((full - arrival) / interval))
if granted > 0 then
  arrival = arrival + granted * interval
  local life = math.ceil((arrival - now) / 1000)
  redis.call('SET', KEYS[1], string.format('%.0f', arrival), 'PX', life)
end
return {granted, arrival - now}";

/// Makes the hash of the script, once.
static HASHED: LazyLock<Script> = LazyLock::new(|| Script::new(SCRIPT));

/// How the script is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// By its hash, which the server knows since it was told the whole.
    Hash,
    /// Whole: the server has never seen it, or has forgotten it.
    Whole,
}

pub(super) fn throttle(form: Form, key: &str, rate: &Rate, wanted: u32) -> Cmd {
    let mut command = match form {
        Form::Hash => redis::cmd("EVALSHA"),
        Form::Whole => redis::cmd("EVAL"),
    };
    match form {
        Form::Hash => command.arg(HASHED.get_hash()),
        Form::Whole => command.arg(SCRIPT),
    };
    command.arg(1).arg(key);
    command
        .arg(rate.interval_micros())
        .arg(rate.burst())
        .arg(wanted);
    command
}

/// Whether the server asks to be told the script.
pub(super) fn is_unknown(answer: &Result<Value, Error>) -> bool {
    match answer {
        Ok(Value::ServerError(error)) => error.kind() == Some(ServerErrorKind::NoScript),
        // A cluster's answers come with their refusals taken out.
        Err(Error::Failed(cause)) => cause
            .downcast_ref::<RedisError>()
            .is_some_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)),
        _ => false,
    }
}

/// What the script answered.
pub(super) fn throttled(answer: Value, rate: &Rate) -> Result<Throttled, Error> {
    let answer = accepted(answer)?;
    let read = |value: &Value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    let numbers = match &answer {
        Value::Array(values) => values.iter().map(read).collect::<Option<Vec<_>>>(),
        _ => None,
    };
    match numbers.as_deref() {
        Some(&[granted, ahead]) if ahead <= rate.window_micros() => {
            let granted = u32::try_from(granted).map_err(|_| unexpected(&answer))?;
            Ok(rate.throttled(granted, ahead))
        }
        _ => Err(unexpected(&answer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn answers_that_make_no_sense_are_errors() {
        let rate = Rate::new(10, Duration::from_secs(1), 5).unwrap();
        let of = |values: &[i64]| Value::Array(values.iter().map(|n| Value::Int(*n)).collect());
        assert_eq!(throttled(of(&[1, 100_000]), &rate).unwrap().remaining, 4);
        for answer in [
            Value::Nil,
            of(&[]),
            of(&[1]),
            of(&[-1, 0]),
            of(&[1, 500_001]),
            of(&[i64::MAX, 0]),
            of(&[1, 0, 0]),
            Value::Array(vec![Value::Nil, Value::Nil]),
        ] {
            assert!(throttled(answer.clone(), &rate).is_err(), "{answer:?}");
        }
    }
}
