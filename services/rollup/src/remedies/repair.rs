//! V: counts hours again that a verification found to differ, and replaces what differs beyond doubt, so many at most.

use super::{
    failed,
    queue::{Queue, Wanted, tell},
};
use crate::jobs::{OpenFinding, VERIFY, WhatDiffers, findings_now, newest_archived};
use async_trait::async_trait;
use loadline_domain::Timestamp;
use loadline_health::{
    Remedy, World,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running},
};
use serde_json::json;
use std::time::Duration;

const ALL: &str = "all findings";
/// A month of a full log takes hours.
const DEADLINE: Duration = Duration::from_secs(12 * 3600);

pub struct RepairCounts {
    pub queue: Queue,
}

impl RepairCounts {
    /// What is open and meant by a target.
    async fn findings(&self, target: &str) -> Result<Vec<OpenFinding>, RemedyError> {
        let open = findings_now(&*self.queue.store).await.map_err(failed)?;
        if ["", ALL].contains(&target) {
            return Ok(open);
        }
        Ok(open.into_iter().filter(|finding| finding.to_string() == target).collect())
    }

    /// Where a finding begins that is not archived yet; its end when all of it is.
    async fn first_repairable(&self, finding: &OpenFinding) -> Result<Timestamp, RemedyError> {
        let (from, to) = (finding.from.hour(), finding.to.hour());
        let newest = newest_archived(&*self.queue.store, from, to).await.map_err(failed)?;
        Ok(newest.map_or(finding.from, |day| day.end().max(finding.from)))
    }

    /// Another verification is another world, whatever it found.
    async fn world(&self, findings: &[OpenFinding]) -> Result<World, RemedyError> {
        let world = self.queue.world(VERIFY).await?;
        Ok(findings.iter().fold(world, |world, finding| world.with(finding.to_string(), finding.count)))
    }
}

#[async_trait]
impl Remedy for RepairCounts {
    fn key(&self) -> &'static str {
        "V"
    }

    fn title(&self) -> &'static str {
        "verify counts against the log and repair what differs"
    }

    fn modes(&self) -> &'static [&'static str] {
        &["AN-08"]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::LossPossible
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    /// The target is a finding as the refusal of an unknown one lists them, or nothing for all.
    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        let findings = self.findings(target).await?;
        if findings.is_empty() {
            let open: Vec<_> = self.findings("").await?.iter().map(ToString::to_string).collect();
            return Err(RemedyError::NotNow(match &open[..] {
                [] => {
                    "no verification found a difference that is still open: run the job `verify` over the hours in doubt".into()
                }
                open => format!("{target} is no open finding: those are {}", open.join(", ")),
            }));
        }
        let world = self.world(&findings).await?;
        self.queue.ensure_free(&world).await?;
        let count = |what| findings.iter().filter(|finding| finding.what == what).map(|finding| finding.count).sum::<u64>();
        let (account_hours, account_days) = (count(WhatDiffers::Hours), count(WhatDiffers::Days));
        let hours: u64 = findings.iter().map(|finding| finding.to.since(finding.from).as_secs() / 3_600).sum();
        let mut effects = vec![
            Effect::new("account-hours replaced by what the log says, where nothing speaks against it", account_hours),
            Effect::new("hours counted again from the log", hours),
        ];
        if account_days > 0 {
            effects.push(Effect::new("account-days computed again from their hours", account_days));
        }
        Ok(Planned {
            target: if target.is_empty() { ALL.to_owned() } else { target.to_owned() },
            effects,
            count: account_hours + account_days,
            world,
            expected: Duration::from_secs(5 + hours),
            undo_within: None,
        })
    }

    async fn look_again(&self, _: &str, planned: &Planned) -> Result<World, RemedyError> {
        self.world(&self.findings(&planned.target).await?).await
    }

    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        running.step(0, 0)?;
        let mut archived = Vec::new();
        for finding in self.findings(&planned.target).await? {
            let from = self.first_repairable(&finding).await?;
            if from >= finding.to || finding.places.iter().any(|(_, start)| *start < from) {
                archived.push(finding.to_string());
            }
            if from >= finding.to {
                continue;
            }
            let mut parameters = json!({
                "from": from.to_string(),
                "to": finding.to.to_string(),
                "repair": true,
                "repair_at_most": finding.count,
                "repair_only": finding.what,
                "repair_found": finding.is_listed(),
            });
            if let Some(account) = &finding.account {
                parameters["account"] = account.as_str().into();
            }
            let part = format!(":{finding}");
            let wanted = Wanted { remedy: self.key(), job: VERIFY, parameters, part: &part };
            let told = self.queue.run(wanted, planned, running).await?;
            let names = [
                ("repaired", "account-hours replaced by what the log says"),
                ("moved", "account-hours left alone: they changed meanwhile"),
                ("unknown", "account-hours left alone: what is right cannot be told"),
            ];
            tell(&told, &names, running);
            tell(&told["days"], &[("repaired", "account-days to be computed again by the next roll-up")], running);
        }
        if archived.is_empty() {
            return Ok(());
        }
        Err(RemedyError::Failed(format!(
            "no longer to be repaired, since their days, or some of them, are archived: {}; correct what was built on them, and settle them by the job \
             `verify` with `accept`",
            archived.join(", ")
        )))
    }
}
