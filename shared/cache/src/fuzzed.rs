//! What reads the bytes of others, for those who throw any at it: see `fuzz/`. No promise to anybody
//! else.

use crate::codec;
use crate::hint::Hint;
use crate::parcel::Parcel;
use bytes::{Bytes, BytesMut};

/// Values are packed smaller from so many bytes on.
const COMPRESS_FROM: usize = 64;

/// An entry of the remote tier: these bytes, and the same with a right seal.
pub fn entry(bytes: &[u8]) {
    let _ = Parcel::unpack(Bytes::copy_from_slice(bytes), "a", None);
    if let Some(parcel) = Parcel::unpack(sealed(bytes), "a", None) {
        let again = Parcel::unpack(parcel.pack("a", COMPRESS_FROM, None), "a", None);
        assert_eq!(again, Some(parcel));
    }
}

/// A hint: these bytes, and the same with a right seal.
pub fn hint(bytes: &[u8]) {
    let _ = Hint::decode(Bytes::copy_from_slice(bytes), "a", None);
    if let Some(hint) = Hint::decode(sealed(bytes), "a", None) {
        assert_eq!(Hint::decode(hint.encode("a", None), "a", None), Some(hint));
    }
}

/// The address of a remote tier; whatever is made of it does not tell the password.
pub fn address(text: &str) {
    let password = text.split_once("://:").map(|(_, rest)| rest);
    let password = password.and_then(|rest| rest.rsplit_once('@'));
    let said = crate::remote::named(text);
    if let Some((password, _)) = password.filter(|(password, _)| password.len() > 8) {
        assert!(!said.contains(password), "{text}: {said}");
    }
}

/// What a node of a cluster says of its slots.
pub fn slots(bytes: &[u8]) {
    crate::remote::slots(bytes);
}

fn sealed(bytes: &[u8]) -> Bytes {
    let mut sealed = BytesMut::from(bytes);
    codec::seal(&mut sealed, "a", None);
    sealed.freeze()
}
