//! What reads the bytes of others, for those who throw any at it: see `fuzz/`. No promise to anybody
//! else.

/// A file of orders.
pub fn orders(bytes: &[u8]) {
    crate::csv::tried(bytes);
}
