//! Chance that is the same at every run.

/// Splitmix64. Every step of a history has dice of its own, so that leaving one out changes no other.
pub struct Dice(u64);

impl Dice {
    pub fn of(seed: u64, step: usize) -> Dice {
        let mut dice = Dice(seed ^ (step as u64).wrapping_mul(0xd6e8_feb8_6659_fd93));
        dice.next();
        dice
    }

    /// One of the numbers below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap_or(0)
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these, where there is one.
    pub fn one_of<T: Copy>(&mut self, these: &[T]) -> Option<T> {
        match these.is_empty() {
            true => None,
            false => Some(these[self.below(these.len())]),
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
