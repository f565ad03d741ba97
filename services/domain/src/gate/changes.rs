//! What callers would see of a promotion: which answers differ, and how far.

use super::score;
use serde::{Deserialize, Serialize};

/// Rows that are kept of those that change most.
pub const KEPT: usize = 10;

/// A row that is answered otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its place, from 0.
    pub row: u64,
    /// Its group; empty: none was given.
    pub group: String,
    /// Total variation distance of the two answers.
    pub distance: f64,
    /// Answer of the champion, by class.
    pub champion: Vec<f64>,
    /// Answer of the challenger, by class.
    pub challenger: Vec<f64>,
}

/// Differences between the answers of two models to the same rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// How many rows were compared.
    pub rows: u64,
    /// Of how many the most likely class is another.
    pub changed_class: u64,
    /// Mean total variation distance.
    pub mean_distance: f64,
    /// The largest.
    pub max_distance: f64,
    /// Rows that change most, the most first; at most [`KEPT`], none that do not change.
    pub most: Vec<Change>,
}

impl Changes {
    /// Adds a row.
    pub fn add(&mut self, champion: &[f64], challenger: &[f64], group: &str) {
        let (row, distance) = (self.rows, score::distance(champion, challenger));
        self.rows += 1;
        self.changed_class += u64::from(score::most_likely(champion) != score::most_likely(challenger));
        self.mean_distance += (distance - self.mean_distance) / self.rows as f64;
        self.max_distance = self.max_distance.max(distance);
        let place = self.most.partition_point(|kept| kept.distance >= distance);
        if distance > 0.0 && place < KEPT {
            let (champion, challenger) = (champion.to_vec(), challenger.to_vec());
            self.most.insert(place, Change { row, group: group.to_owned(), distance, champion, challenger });
            self.most.truncate(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_that_change_most_are_kept_in_order_and_no_other() {
        let mut changes = Changes::default();
        for at in 0..40 {
            let moved = f64::from((at * 7) % 40) / 100.0;
            changes.add(&[0.6, 0.4], &[0.6 - moved, 0.4 + moved], "day");
        }
        let kept: Vec<u32> = changes.most.iter().map(|change| (change.distance * 100.0).round() as u32).collect();
        assert_eq!(kept, [39, 38, 37, 36, 35, 34, 33, 32, 31, 30]);
        assert_eq!((changes.rows, changes.changed_class), (40, 29), "from 0.11 on the other class is more likely");
        assert!((changes.mean_distance - 0.195).abs() < 1e-9 && (changes.max_distance - 0.39).abs() < 1e-9);
    }

    #[test]
    fn a_model_against_itself_changes_nothing() {
        let mut changes = Changes::default();
        changes.add(&[0.5, 0.5], &[0.5, 0.5], "");
        assert_eq!(changes, Changes { rows: 1, ..Changes::default() });
    }
}
