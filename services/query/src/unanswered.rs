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
/// So many times in a row a question may be too slow for a history that otherwise answers. Then it is the question that is too large,
/// unless callers keep asking it.
const TOO_SLOW: u32 = 5;

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

/// Whether another history, or this one later, could answer all the same.
fn may_pass(why: &HistoryError) -> bool {
    use HistoryError::{Damaged, Missing, Unavailable, WrongSchema};
    matches!(why, Unavailable(_) | Missing(_) | WrongSchema(_) | Damaged { .. })
}

/// What waits for an answer, what was asked last at the end, and why the last one was refused.
#[derive(Debug, Default)]
pub(crate) struct Unanswered(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    questions: VecDeque<Kept>,
    why: String,
}

#[derive(Debug)]
struct Kept {
    asked: Asked,
    too_slow: u32,
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
        if !may_pass(why) {
            return;
        }
        let mut waiting = self.waiting();
        waiting.why = why.to_string();
        if let Some(kept) = waiting.questions.iter_mut().find(|kept| kept.asked == asked) {
            kept.too_slow = 0;
        } else if waiting.questions.len() < KEPT {
            waiting.questions.push_back(Kept { asked, too_slow: 0 });
        }
    }

    /// Asks each again, one after the other, until that took as long as one may take: the next time goes on with the others.
    pub async fn ask_again(&self, history: &dyn History, patience: Duration) {
        let (began, waiting) = (Instant::now(), self.waiting().questions.len());
        for _ in 0..waiting {
            if began.elapsed() >= patience {
                return;
            }
            let Some(asked) = self.next() else { return };
            match timeout(patience, asked.again(history)).await {
                Ok(Err(error)) if may_pass(&error) => self.keep(asked, &error),
                // Answered, or never to be.
                Ok(_) => self.waiting().questions.retain(|kept| kept.asked != asked),
                Err(_) => {
                    let answers = timeout(patience, history.probe()).await.is_ok_and(|probed| probed.is_ok());
                    self.too_slow(&asked, answers, patience);
                }
            }
        }
    }

    /// The first, which becomes the last.
    fn next(&self) -> Option<Asked> {
        let questions = &mut self.waiting().questions;
        let kept = questions.pop_front()?;
        let asked = kept.asked.clone();
        questions.push_back(kept);
        Some(asked)
    }

    fn too_slow(&self, asked: &Asked, history_answers: bool, patience: Duration) {
        let mut waiting = self.waiting();
        waiting.why = format!("no answer within {patience:?}");
        let Some(at) = waiting.questions.iter().position(|kept| kept.asked == *asked) else { return };
        let kept = &mut waiting.questions[at];
        kept.too_slow = if history_answers { kept.too_slow + 1 } else { 0 };
        if kept.too_slow == TOO_SLOW {
            waiting.questions.remove(at);
            let parts = asked.parts.len();
            tracing::warn!(parts, ?patience, "history answers, but not this question in time: it is not asked again");
        }
    }

    /// What waits now; `None` when nothing does.
    pub fn backlog(&self) -> Option<Backlog> {
        let waiting = self.waiting();
        let days: BTreeSet<_> = waiting.questions.iter().flat_map(|kept| &kept.asked.parts).map(|part| part.day).collect();
        let questions = waiting.questions.len();
        (questions > 0).then(|| Backlog { questions, days: days.len(), why: waiting.why.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadline_domain::{
        AccountId, Day,
        question::{Grain, GroupBy},
    };
    use loadline_fault::{Calls, Fault, Faults, Injected, Kind};
    use std::sync::Arc;
    use tempfile::TempDir;

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

    const PATIENCE: Duration = Duration::from_millis(50);

    /// About an account, and no archived day: any history that answers at all answers it.
    fn about(account: &str) -> Asked {
        let question = UsageQuery {
            account: AccountId::new(account).unwrap(),
            from: Hour::from_index(0),
            to: Hour::from_index(24),
            filter: UsageFilter::default(),
            group_by: GroupBy::default(),
            grain: Grain::Hour,
        };
        Asked { scope: AccountScope::All, parts: Vec::new(), what: What::Usage(question) }
    }

    /// A history that never answers these calls, and questions that wait for it.
    struct Stuck {
        history: Arc<dyn History>,
        unanswered: Unanswered,
        _fault: Injected,
        _folder: TempDir,
    }

    async fn stuck(calls: Calls, kept: &[&str]) -> Stuck {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file:{}", folder.path().display());
        let history = loadline_history::open(&url, loadline_history::Options::default()).unwrap();
        history.prepare().await.unwrap();
        let faults = Faults::default();
        let fault = faults.inject(Fault {
            name: "stuck".to_owned(),
            kind: Kind::Hang,
            calls,
            ttl: Duration::from_secs(60),
            cured_by: None,
        });
        let unanswered = Unanswered::default();
        let why = HistoryError::Unavailable("cut".to_owned());
        kept.iter().for_each(|account| unanswered.keep(about(account), &why));
        let history = loadline_history::behind(history, Some(&faults));
        Stuck { history, unanswered, _fault: fault, _folder: folder }
    }

    impl Stuck {
        async fn ask_again(&self) {
            self.unanswered.ask_again(&*self.history, PATIENCE).await;
        }

        fn left(&self) -> usize {
            self.unanswered.backlog().map_or(0, |backlog| backlog.questions)
        }
    }

    #[tokio::test]
    async fn a_question_without_an_answer_holds_up_no_other() {
        let stuck = stuck(Calls::only(&["usage"]).about("acme"), &["acme", "bolt", "core"]).await;
        stuck.ask_again().await;
        stuck.ask_again().await;
        assert_eq!(stuck.left(), 1);
    }

    #[tokio::test]
    async fn a_question_that_is_too_large_is_given_up_unless_it_is_asked() {
        let stuck = stuck(Calls::only(&["usage"]), &["acme"]).await;
        let why = HistoryError::Unavailable("slow".to_owned());
        let last = TOO_SLOW * 2 - 1;
        for round in 1..=last {
            stuck.ask_again().await;
            assert_eq!(stuck.left(), usize::from(round < last), "{round}");
            if round == TOO_SLOW - 1 {
                stuck.unanswered.keep(about("acme"), &why);
            }
        }
    }

    #[tokio::test]
    async fn while_history_answers_nothing_no_question_is_given_up() {
        let stuck = stuck(Calls::only(&["usage", "probe"]), &["acme"]).await;
        for _ in 0..TOO_SLOW * 2 {
            stuck.ask_again().await;
        }
        assert_eq!(stuck.left(), 1);
    }
}
