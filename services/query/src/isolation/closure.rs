//! What a breach closes: answers about accounts, until it is shown that accounts are apart.

use super::Canary;
use crate::status::QueryError;
use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};
use tokio::time::Instant;
use tonic::Request;

/// Closed or not, for all callers of this process. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Closure(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    /// What was given away first.
    closed_for: Option<String>,
    /// Since when every round was clean.
    clean_since: Option<Instant>,
    /// When a canary was last answered.
    breached_at: Option<Instant>,
}

impl Closure {
    /// Lets a question in.
    ///
    /// # Errors
    /// [`QueryError::Closed`] while closed, but for canaries: they find out whether it still has to be.
    pub fn enter<T>(&self, request: &Request<T>) -> Result<Pass, QueryError> {
        let is_canary = request.extensions().get::<Canary>().is_some();
        let pass = Pass { closure: self.clone(), is_canary };
        pass.hand_out(())?;
        Ok(pass)
    }

    /// What was given away, while closed.
    pub fn closed_for(&self) -> Option<String> {
        self.state().closed_for.clone()
    }

    /// Closes, for the first reason.
    pub fn close(&self, why: &str) {
        let now = Instant::now();
        self.change(|state| {
            state.closed_for.get_or_insert_with(|| why.to_owned());
            (state.clean_since, state.breached_at) = (None, Some(now));
        });
    }

    /// A round was clean; lifts the closure when all were for so long.
    pub fn clean(&self, long_enough: Duration) {
        let now = Instant::now();
        self.change(|state| {
            let since = *state.clean_since.get_or_insert(now);
            if now.duration_since(since) >= long_enough {
                state.closed_for = None;
            }
        });
    }

    /// A round could not tell: what was clean before it counts no more.
    pub fn untold(&self) {
        self.change(|state| state.clean_since = None);
    }

    /// Lifts it at once, unless something was given away at `unbreached_since` or later. False when it was not closed.
    pub fn lift(&self, unbreached_since: Instant) -> bool {
        let mut lifted = false;
        self.change(|state| {
            let still = state.breached_at.is_none_or(|at| at < unbreached_since);
            lifted = still && state.closed_for.take().is_some();
        });
        lifted
    }

    /// Whether a breach is so fresh that it is worth looking again soon.
    pub fn was_breached_within(&self, time: Duration) -> bool {
        let state = self.state();
        state.closed_for.is_some() || state.breached_at.is_some_and(|at| at.elapsed() < time)
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A question that was let in. What it finds passes only if nothing was closed meanwhile.
#[derive(Debug, Clone)]
pub struct Pass {
    closure: Closure,
    is_canary: bool,
}

impl Pass {
    /// Whether it is a canary's.
    pub fn is_canary(&self) -> bool {
        self.is_canary
    }

    /// Hands an answer out.
    ///
    /// # Errors
    /// [`QueryError::Closed`].
    pub fn hand_out<T>(&self, answer: T) -> Result<T, QueryError> {
        if !self.is_canary && self.closure.state().closed_for.is_some() {
            return Err(QueryError::Closed);
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: Duration = Duration::from_secs(120);

    fn caller(closure: &Closure) -> Result<Pass, QueryError> {
        closure.enter(&Request::new(()))
    }

    fn is_closed(closure: &Closure) -> bool {
        matches!(caller(closure), Err(QueryError::Closed))
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_lifted_by_clean_rounds_without_a_break_and_by_nothing_shorter() {
        let closure = Closure::default();
        closure.close("one");
        closure.close("two");
        assert_eq!(closure.closed_for().as_deref(), Some("one"));
        closure.clean(CLEAR);
        for break_it in [|closure: &Closure| closure.close("again"), Closure::untold] {
            tokio::time::advance(CLEAR - Duration::from_secs(1)).await;
            closure.clean(CLEAR);
            break_it(&closure);
            tokio::time::advance(Duration::from_secs(2)).await;
            closure.clean(CLEAR);
            assert!(is_closed(&closure));
        }
        tokio::time::advance(CLEAR).await;
        assert!(is_closed(&closure), "time alone lifts nothing");
        closure.clean(CLEAR);
        assert!(!is_closed(&closure));
        assert!(!closure.lift(Instant::now()));
    }

    #[tokio::test]
    async fn an_answer_under_way_does_not_pass_and_a_canary_does() {
        let closure = Closure::default();
        let under_way = caller(&closure).unwrap();
        let before = Instant::now();
        closure.close("rows");
        assert!(matches!(under_way.hand_out(1), Err(QueryError::Closed)));
        let mut canary = Request::new(());
        canary.extensions_mut().insert(Canary);
        assert!(closure.enter(&canary).unwrap().hand_out(1).is_ok());
        assert!(!closure.lift(before), "another round found it broken meanwhile");
        assert!(closure.lift(Instant::now()));
        assert!(under_way.hand_out(1).is_ok());
    }
}
