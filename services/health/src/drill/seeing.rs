//! Whether a mode opens, and in time; or, in a control, that none does.

use super::{
    conduct::{Conduct, End, WATCH, end, evidence},
    look::until,
};
use crate::{Catalogue, catalogue::Budgets};
use loadline_proto::health::drill_run::{Phase, Verdict};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep};

/// A mode that opens within so many budgets is late, after that not detected.
pub(super) const LATE: u32 = 3;

impl Conduct {
    /// The mode opens, in time; answers by how much it was late. For how long a rule wants a mode to be bad before it opens is no
    /// part of the time that it took to be seen: meanwhile it is shown as suspect.
    pub(super) async fn detect(&self, open: &BTreeSet<String>, budgets: &Budgets) -> Result<Option<String>, End> {
        let (mode, budget, hold) = (self.drill.mode(), budgets.detect(), self.hold());
        let beyond = if hold.is_zero() { String::new() } else { format!(", beyond the {hold:?} that it is suspect first") };
        self.phase(Phase::Detect, &format!("{mode} has to open within {budget:?}{beyond}"));
        let detected = until(hold + budget * LATE, || async {
            match self.is_open() {
                true => Ok(()),
                false => Err(format!("{mode} did not open within {:?}{beyond}", budget * LATE)),
            }
        });
        let took = match detected.await {
            Ok(took) => took.saturating_sub(hold),
            Err(why) => return Err(self.not_detected(open, why).await),
        };
        self.took(|run, took| run.detected_after = Some(took), took);
        self.drill.took_effect().await.map_err(|why| end(Verdict::NotInjected, format!("{mode} is open, but {why}")))?;
        Ok((took > budget).then(|| format!("{mode} opened after {took:.1?}{beyond}, which is more than {budget:?}")))
    }

    /// For how long the mode has to be bad until it opens, as it is here.
    pub(super) fn hold(&self) -> Duration {
        let hold = Catalogue::embedded().get(self.drill.mode()).map_or(Duration::ZERO, |mode| mode.threshold.hold());
        self.monitor.at_most(hold)
    }

    /// No effect, another mode, or nothing at all.
    async fn not_detected(&self, open: &BTreeSet<String>, why: String) -> End {
        if let Err(no_effect) = self.drill.took_effect().await {
            return end(Verdict::NotInjected, no_effect);
        }
        match self.monitor.open_modes().into_iter().find(|other| !open.contains(&other.id)) {
            Some(other) => end(Verdict::Misdiagnosed, format!("{why}; {} did: {}", other.id, evidence(&other))),
            None => end(Verdict::Undetected, why),
        }
    }

    /// A control: for as long as detecting may take, nothing does. Where times are shortened, that is a hold time and a look-back.
    pub(super) async fn nothing_opens(&self, open: &BTreeSet<String>, budgets: &Budgets) -> Result<String, End> {
        self.phase(Phase::Detect, "nothing was done: nothing may open");
        let (seen, shortened) = (self.hold() + budgets.detect(), self.monitor.shortened().map(|longest| longest * 2));
        let until = Instant::now() + shortened.map_or(seen, |longest| longest.min(seen));
        while Instant::now() < until {
            let mode = self.monitor.open_modes().into_iter().find(|mode| !open.contains(&mode.id));
            if let Some(mode) = mode {
                return Err(end(
                    Verdict::FalseAlarm,
                    format!("{} opened although nothing was done: {}", mode.id, evidence(&mode)),
                ));
            }
            sleep(WATCH).await;
        }
        Ok("nothing was done, and nothing opened".to_owned())
    }
}
