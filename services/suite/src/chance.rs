//! Chance that can be repeated: a pure function of a seed and a place in a run.

/// The finishing step of splitmix64: numbers that lie side by side come out far apart.
pub fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// A number from 0 to below 1, for this seed, this place and this question asked there.
pub fn share(seed: u64, index: u64, question: u64) -> f64 {
    let bits = mix(seed ^ mix(index ^ mix(question)));
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
