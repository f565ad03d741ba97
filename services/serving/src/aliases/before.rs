//! What an alias named before the promotion in force.

use super::Kind;
use loadline_store::AliasChange;

/// The version to roll back to from `current`, given the whole history, the oldest first.
///
/// A promotion puts a version on top of those before, a rollback takes the top one away, a withdrawal undoes the entry before it. So two
/// rollbacks go back two promotions, never forward again. Where somebody changed the alias in the registry itself, rolling back leads
/// to what the history last says.
pub fn of(history: &[AliasChange], current: u64) -> Option<u64> {
    let mut in_force: Vec<(Kind, &AliasChange)> = Vec::new();
    for change in history {
        match Kind::named(&change.action) {
            Kind::Withdrawal => drop(in_force.pop()),
            kind => in_force.push((kind, change)),
        }
    }
    let mut versions: Vec<u64> = Vec::new();
    for (kind, change) in in_force {
        // Somebody else had changed it: that is what was in force.
        if change.before.is_some() && versions.last() != change.before.as_ref() {
            versions.extend(change.before);
        }
        if kind == Kind::Rollback {
            versions.pop();
        }
        if versions.last() != change.after.as_ref() {
            versions.extend(change.after);
        }
    }
    versions.iter().rev().copied().find(|version| *version != current)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Kind::{Promotion, Rollback, Withdrawal};

    fn history(changes: &[(Kind, u64, u64)]) -> Vec<AliasChange> {
        let version = |number: u64| (number != 0).then_some(number);
        let change = |(kind, from, to): &(Kind, u64, u64)| AliasChange {
            action: kind.name().to_owned(),
            before: version(*from),
            after: version(*to),
            ..AliasChange::default()
        };
        changes.iter().map(change).collect()
    }

    fn before(changes: &[(Kind, u64, u64)], current: u64) -> Option<u64> {
        of(&history(changes), current)
    }

    #[test]
    fn the_first_promotion_has_nothing_before() {
        assert_eq!(before(&[], 1), None);
        assert_eq!(before(&[(Promotion, 0, 1)], 1), None);
        assert_eq!(before(&[(Promotion, 7, 1)], 1), Some(7), "what the registry had before there was a history");
    }

    #[test]
    fn two_rollbacks_go_back_two_promotions() {
        let promoted = [(Promotion, 0, 1), (Promotion, 1, 2), (Promotion, 2, 3)];
        assert_eq!(before(&promoted, 3), Some(2));
        let once = [&promoted[..], &[(Rollback, 3, 2)]].concat();
        assert_eq!(before(&once, 2), Some(1));
        let twice = [&once[..], &[(Rollback, 2, 1)]].concat();
        assert_eq!(before(&twice, 1), None);
        let again = [&twice[..], &[(Promotion, 1, 3)]].concat();
        assert_eq!(before(&again, 3), Some(1));
    }

    #[test]
    fn what_was_withdrawn_never_was() {
        let promoted = [(Promotion, 0, 1), (Promotion, 1, 2), (Withdrawal, 2, 1)];
        assert_eq!(before(&promoted, 1), None);
        let rolled_back = [(Promotion, 0, 1), (Promotion, 1, 2), (Rollback, 2, 1), (Withdrawal, 1, 2)];
        assert_eq!(before(&rolled_back, 2), Some(1));
    }

    #[test]
    fn a_change_behind_our_back_is_rolled_back_to_what_the_history_says() {
        assert_eq!(before(&[(Promotion, 0, 1), (Promotion, 1, 2)], 9), Some(2));
        assert_eq!(before(&[(Promotion, 0, 1), (Promotion, 9, 2)], 2), Some(9), "it was in force when 2 took over");
    }
}
