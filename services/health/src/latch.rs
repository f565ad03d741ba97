//! Over a limit until clearly below it again.

/// For a number that may go to and fro about its limit: what has gone over it is over until it is a tenth below.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latch {
    is_over: bool,
}

impl Latch {
    /// Whether it is over, by this value and those before.
    pub fn is_over(&mut self, value: u64, limit: u64) -> bool {
        self.is_over = value > limit || self.is_over && value > limit - limit / 10;
        self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_over_its_limit_is_over_until_it_is_a_tenth_below() {
        let mut latch = Latch::default();
        let told = [950, 1_000, 1_001, 1_000, 901, 900, 999, 1_000, 1_001].map(|value| latch.is_over(value, 1_000));
        assert_eq!(told, [false, false, true, true, true, false, false, false, true]);
    }

    #[test]
    fn a_limit_of_a_few_has_no_room_for_a_tenth() {
        let mut latch = Latch::default();
        assert_eq!([1, 0, 1, 1].map(|value| latch.is_over(value, 0)), [true, false, true, true]);
        assert_eq!([6, 5, 6].map(|value| latch.is_over(value, 5)), [true, false, true]);
    }
}
