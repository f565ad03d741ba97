//! Questions about archived days that history could not answer. Each is kept, and asked again until it is answered: that is what
//! AN-07 follows on this side, whoever asks or stops asking.

use loadline_domain::{
    AccountScope, Hour,
    archive::Part,
    question::{UsageFilter, UsageQuery},
};
use loadline_history::{History, HistoryError};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// Most kept: what many callers ask at once says no more than these.
const KEPT: usize = 16;

/// A question as it is asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub scope: AccountScope,
    pub parts: Vec<Part>,
    pub what: What,
}

/// Which call of history answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Usage(UsageQuery),
    Delivery(UsageQuery),
    Totals { from: Hour, to: Hour, filter: UsageFilter },
}

impl Asked {
    async fn again(&self, history: &dyn History) -> Result<(), HistoryError> {
        let Self { scope, parts, what } = self;
        match what {
            What::Usage(query) => history.usage(scope, parts, query).await.map(drop),
            What::Delivery(query) => history.delivery(scope, parts, query).await.map(drop),
            What::Totals { from, to, filter } => history.account_totals(scope, parts, *from, *to, filter).await.map(drop),
        }
    }
}

/// What waits for an answer, the oldest first, and why the last one was refused.
#[derive(Debug, Default)]
pub(crate) struct Unanswered(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    questions: VecDeque<Asked>,
    why: String,
}

/// How many questions wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub questions: usize,
    /// Archived days they are about.
    pub days: usize,
    pub why: String,
}

impl Unanswered {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a question, once. One that no history could answer is none that waits.
    pub fn keep(&self, asked: Asked, why: &HistoryError) {
        use HistoryError::{Damaged, Missing, Unavailable, WrongSchema};
        if !matches!(why, Unavailable(_) | Missing(_) | WrongSchema(_) | Damaged { .. }) {
            return;
        }
        let mut waiting = self.waiting();
        waiting.why = why.to_string();
        if waiting.questions.len() < KEPT && !waiting.questions.contains(&asked) {
            waiting.questions.push_back(asked);
        }
    }

    /// Asks again, one question after the other, until one is not answered within `patience` or all were asked for so long.
    pub async fn ask_again(&self, history: &dyn History, patience: Duration) {
        let began = Instant::now();
        while began.elapsed() < patience {
            let Some(asked) = self.waiting().questions.front().cloned() else { return };
            let slow = |_| Err(HistoryError::Unavailable(format!("no answer within {patience:?}")));
            let answered = timeout(patience, asked.again(history)).await.unwrap_or_else(slow);
            let mut waiting = self.waiting();
            match answered {
                Ok(()) => waiting.questions.retain(|kept| *kept != asked),
                Err(error) => {
                    waiting.why = error.to_string();
                    return;
                }
            }
        }
    }

    /// What waits now; `None` when nothing does.
    pub fn backlog(&self) -> Option<Backlog> {
        let waiting = self.waiting();
        let days: BTreeSet<_> = waiting.questions.iter().flat_map(|asked| &asked.parts).map(|part| part.day).collect();
        let questions = waiting.questions.len();
        (questions > 0).then(|| Backlog { questions, days: days.len(), why: waiting.why.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_domain::Day;

    fn asked(day: i32) -> Asked {
        let part = Part { day: Day::from_index(day), number: 0, token: "t".to_owned() };
        let what = What::Totals { from: Hour::from_index(0), to: Hour::from_index(24), filter: UsageFilter::default() };
        Asked { scope: AccountScope::All, parts: vec![part], what }
    }

    #[test]
    fn a_question_is_kept_once_and_of_many_a_few() {
        let (unanswered, why) = (Unanswered::default(), HistoryError::Unavailable("cut".to_owned()));
        unanswered.keep(asked(1), &HistoryError::Broken("a sum does not fit".to_owned()));
        assert_eq!(unanswered.backlog(), None);
        for day in [3, 3, 4] {
            unanswered.keep(asked(day), &why);
        }
        let why_told = "history unavailable: cut".to_owned();
        assert_eq!(unanswered.backlog(), Some(Backlog { questions: 2, days: 2, why: why_told }));
        (0..100).for_each(|day| unanswered.keep(asked(day), &why));
        assert_eq!(unanswered.backlog().map(|backlog| backlog.questions), Some(KEPT));
    }
}
