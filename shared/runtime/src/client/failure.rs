//! What an error says about the call and about its endpoint.

use crate::status;
use http::HeaderMap;
use std::error::Error as StdError;
use std::io;
use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::StatusExt as _;

/// What became of a call that was not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// Its time is over.
    Late,
    /// No server has begun to work on it, and this endpoint takes no more: there is no
    /// connection, or it is ending.
    Nobody,
    /// No server has begun to work on it; the endpoint takes others.
    Refused,
    /// The connection broke, or the answer did: whether anybody worked on it is not known.
    Broken,
}

impl Failure {
    pub(super) fn of(error: &(dyn StdError + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(failure) = Self::said(error) {
                return failure;
            }
            cause = match error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
            {
                // Its source is that of what it wraps, which so would be passed over.
                Some(wrapped) => Some(wrapped),
                None => error.source(),
            };
        }
        Self::Broken
    }

    fn said(error: &(dyn StdError + 'static)) -> Option<Self> {
        if error.is::<TimeoutExpired>() {
            return Some(Self::Late);
        }
        if error.is::<ConnectError>() {
            return Some(Self::Nobody);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            // It was still waiting for the connection when that ended.
            return error.is_canceled().then_some(Self::Nobody);
        }
        let error = error.downcast_ref::<h2::Error>()?;
        match error.is_remote() {
            // A stream hears of a GOAWAY if it is above the last one that was looked at, or if it
            // was opened in the same moment, before anything of its message was sent: a handler
            // that waits for a whole message has not begun then, whatever the server has seen.
            true if error.is_go_away() => Some(Self::Nobody),
            true if error.reason() == Some(h2::Reason::REFUSED_STREAM) => Some(Self::Refused),
            _ => None,
        }
    }

    /// Whether the same call can be made again, be it a read or a write.
    pub(super) fn is_unprocessed(self) -> bool {
        matches!(self, Self::Nobody | Self::Refused)
    }

    /// Whether the endpoint should not be asked until it has answered.
    pub(super) fn is_away(self) -> bool {
        matches!(self, Self::Nobody | Self::Broken)
    }
}

/// Whether an answer says that no handler was reached: its reason is one that nothing but the
/// door of a server gives, and it is the whole answer.
pub(super) fn turned_away(headers: &HeaderMap) -> bool {
    let unavailable = |text: &http::HeaderValue| text == "14";
    if !headers.get(Status::GRPC_STATUS).is_some_and(unavailable) {
        return false;
    }
    let Some(status) = Status::from_header_map(headers) else {
        return false;
    };
    let info = status.get_details_error_info();
    status.code() == Code::Unavailable
        && info.is_some_and(|info| info.domain == status::DOMAIN && info.reason == status::STARTING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_error_whose_cause_is_not_known_leaves_open_whether_the_call_was_made() {
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Failure::of(&broken), Failure::Broken);
        assert!(!Failure::Broken.is_unprocessed());
    }

    #[test]
    fn a_cause_is_found_however_deep_it_lies() {
        let refused = ConnectError(Box::new(io::Error::from(io::ErrorKind::ConnectionRefused)));
        let outer = io::Error::other(io::Error::other(refused));
        assert_eq!(Failure::of(&outer), Failure::Nobody);
        let late = io::Error::other(TimeoutExpired(()));
        assert_eq!(Failure::of(&late), Failure::Late);
        for reason in [h2::Reason::REFUSED_STREAM, h2::Reason::CANCEL] {
            // Our own resets are no word of the server's.
            assert_eq!(Failure::of(&h2::Error::from(reason)), Failure::Broken);
        }
    }

    #[test]
    fn only_a_server_that_is_starting_has_turned_a_call_away() {
        let said = |reason| {
            let status = status::unavailable(reason, "later", Duration::from_millis(1));
            turned_away(status.into_http::<()>().headers())
        };
        assert!(said(status::STARTING));
        // A database that is away may have been asked already.
        assert!(!said("DATABASE_UNAVAILABLE"));
        assert!(!turned_away(&HeaderMap::new()));
    }
}
