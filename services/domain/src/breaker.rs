//! Stops a stream when its records can no longer be read: a bad deploy must not drain it into the dead letters.

use std::collections::VecDeque;

/// Undecodable records in a row that stop a stream.
pub const IN_A_ROW: u32 = 100;
/// The last so many records are looked at together.
pub const WINDOW: usize = 1_000;
/// Undecodable records among them that stop a stream.
pub const IN_WINDOW: usize = WINDOW / 2;

/// Watches one stream's records go by.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    in_a_row: u32,
    window: VecDeque<bool>,
    undecodable: usize,
}

impl Breaker {
    /// Sees one record, which is taken. Returns why to stop after it, or `None` to go on.
    pub fn observe(&mut self, decodable: bool) -> Option<String> {
        self.in_a_row = if decodable { 0 } else { self.in_a_row + 1 };
        self.window.push_back(decodable);
        self.undecodable += usize::from(!decodable);
        if self.window.len() > WINDOW {
            self.undecodable -= usize::from(self.window.pop_front() == Some(false));
        }
        if self.in_a_row >= IN_A_ROW {
            return Some(format!("{IN_A_ROW} undecodable records in a row"));
        }
        if self.undecodable >= IN_WINDOW {
            return Some(format!("{} of the last {} records undecodable", self.undecodable, self.window.len()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_in_a_row_stop_it_and_ninety_nine_do_not() {
        let mut breaker = Breaker::default();
        for _ in 0..5 {
            assert!((0..99).all(|_| breaker.observe(false).is_none()));
            assert_eq!(breaker.observe(true), None);
            (0..1_000).for_each(|_| assert_eq!(breaker.observe(true), None));
        }
        assert!((0..99).all(|_| breaker.observe(false).is_none()));
        assert!(breaker.observe(false).is_some());
    }

    #[test]
    fn half_of_the_last_thousand_stop_it() {
        let mut breaker = Breaker::default();
        let tripped_at = (1..).find(|n| breaker.observe(n % 2 == 0).is_some());
        assert_eq!(tripped_at, Some(999));
        let mut breaker = Breaker::default();
        assert!((0..10_000).all(|n| breaker.observe(n % 3 != 0).is_none()));
    }
}
