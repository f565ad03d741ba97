//! Outcomes in the contract's words.

use crate::{
    gate,
    skill::{Class, Found, Outcome, Tally},
    tensors::Invalid,
};
use loadline_proto::serving::{LiveSkill, Outcome as Told, ReportOutcomesResponse, outcome};

/// Outcomes as they are told.
///
/// # Errors
/// The first that lacks something.
pub fn asked(told: Vec<Told>) -> Result<Vec<Outcome>, Invalid> {
    let one = |(place, Told { id, class, group }): (usize, Told)| {
        let field = |name: &str| format!("outcomes[{place}].{name}");
        if id.is_empty() {
            return Err(Invalid::new(field("id"), "is absent; it is that of the request"));
        }
        let class = match class {
            Some(outcome::Class::Index(index)) => Class::Index(index),
            Some(outcome::Class::Label(label)) => Class::Label(label),
            None => return Err(Invalid::new(field("index"), "is absent, and so is the label: say which class happened")),
        };
        Ok(Outcome { id, class, group })
    };
    told.into_iter().enumerate().map(one).collect()
}

/// What became of them.
pub fn told(tally: Tally) -> ReportOutcomesResponse {
    let Tally { counted, again, unknown, failed, last_failure, found } = tally;
    ReportOutcomesResponse { counted, again, unknown, failed, last_failure, skill: found.as_ref().map(skill) }
}

fn skill(found: &Found) -> LiveSkill {
    LiveSkill {
        champion_version: found.pair.champion,
        previous_version: found.pair.previous,
        matches: found.matches,
        groups: found.groups,
        rps: Some(gate::comparison(&found.rps)),
        champion_is_worse: found.is_worse,
    }
}
