//! Names for the incarnations of rooms.
//!
//! A random start keeps the epochs of two processes apart; a stride keeps those of one process distinct.

use super::super::Epoch;

const BITS: u32 = 40;
const MASK: u64 = (1 << BITS) - 1;
/// Odd, so that all 2^40 values come once; large, so that neighbours look different.
const STRIDE: u64 = 0x9E_3779_B97F;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

pub(super) struct Epochs {
    state: u64,
}

impl Epochs {
    pub(super) fn new() -> Self {
        Self {
            state: fastrand::u64(..=MASK),
        }
    }

    /// Returns 8 characters of base32, not returned before.
    pub(super) fn next(&mut self) -> Epoch {
        self.state = self.state.wrapping_add(STRIDE) & MASK;
        let letter = |i| char::from(ALPHABET[(self.state >> (5 * i) & 31) as usize]);
        (0..BITS / 5).map(letter).collect::<String>().into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn epochs_are_short_and_do_not_repeat() {
        let mut epochs = Epochs::new();
        let seen: HashSet<Epoch> = (0..20_000).map(|_| epochs.next()).collect();
        assert_eq!(seen.len(), 20_000);
        assert!(seen.iter().all(|epoch| epoch.len() == 8));
    }
}
