//! What reads the bytes of others, for those who throw any at it: see `fuzz/`. No promise to anybody
//! else.

use crate::convert::{round_in, round_out};
use larder_proto::cache::v1::GetRoundResponse;
use prost::Message as _;

/// A round of another service's feed.
pub fn round(bytes: &[u8]) {
    let Ok(round) = GetRoundResponse::decode(bytes) else {
        return;
    };
    if let Ok(round) = round_in(round) {
        let again = round_in(round_out(round.clone()));
        assert_eq!(again.ok(), Some(round));
    }
}
