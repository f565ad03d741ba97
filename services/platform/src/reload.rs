//! N: reads secrets and configuration again, and puts them in force if they are good: the services of the process then live again
//! with them. What is not good is refused, with all that is wrong with it.

use crate::{CONFIGURATION, Kept, SECRETS, fingerprint, kept::differences, watch::Rereads};
use async_trait::async_trait;
use loadline_health::{
    Remedy, World,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running, Successor},
};
use loadline_runtime::Shutdown;
use loadline_settings::Settings;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long it can be taken back: until a while after somebody has looked at the graphs.
const UNDO_WITHIN: Duration = Duration::from_secs(3_600);
/// Services of one process, which share its configuration, may all be asked to read it again.
const COOLDOWN: Duration = Duration::from_secs(2);
const EXPECTED: Duration = Duration::from_secs(15);

/// The remedy, at the desk of one service.
pub(crate) struct Reload {
    pub rereads: Rereads,
    pub kept: Arc<Kept>,
    /// Keys, or sections, that only a start of the process applies.
    pub fixed: &'static [&'static str],
    pub instance: String,
    pub shutdown: Shutdown,
    pub read: Mutex<Option<Settings>>,
}

impl Reload {
    /// What is there now, and which keys of it are not as those in force.
    async fn look(&self) -> Result<(Settings, Vec<String>), RemedyError> {
        let hash = fingerprint(&self.kept.in_force());
        let refused = |why: String| RemedyError::NotNow(format!("what is there is refused, and {hash} stays in force: {why}"));
        let read = self.rereads.read().await.map_err(refused)?;
        let keys = differences(&self.kept.in_force(), &read);
        let is_fixed =
            |key: &&String| self.fixed.iter().any(|fixed| key.as_str() == *fixed || key.starts_with(&format!("{fixed}.")));
        let fixed: Vec<_> = keys.iter().filter(is_fixed).cloned().collect();
        if !fixed.is_empty() {
            let keys = fixed.join(", ");
            return Err(RemedyError::NotNow(format!("only a start of the process applies {keys}: {hash} stays in force")));
        }
        Ok((read, keys))
    }
}

/// This life ends, and the next one, of every service of the process, has what was read.
struct Apply {
    kept: Arc<Kept>,
    shutdown: Shutdown,
    read: Settings,
}

impl Successor for Apply {
    fn hand_over(self: Box<Self>, left: String) -> bool {
        self.kept.put(self.read);
        let is_handed_over = self.shutdown.live_again(left);
        self.kept.announce();
        is_handed_over
    }
}

#[async_trait]
impl Remedy for Reload {
    fn key(&self) -> &'static str {
        "N"
    }

    fn title(&self) -> &'static str {
        "read secrets and configuration again"
    }

    fn modes(&self) -> &'static [&'static str] {
        &[SECRETS, CONFIGURATION]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Undoable
    }

    fn cooldown(&self) -> Duration {
        COOLDOWN
    }

    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        if !["", &self.instance].contains(&target) {
            let why =
                format!("{target} is not known here: a process reads its own configuration, and this one is {}", self.instance);
            return Err(RemedyError::NotNow(why));
        }
        let (read, keys) = self.look().await?;
        let (text, undo_within) = match keys.is_empty() {
            true => ("what is there was read: it is what is in force".to_owned(), None),
            false => {
                (format!("put in force, the services start again inside their process: {}", keys.join(", ")), Some(UNDO_WITHIN))
            }
        };
        let count = keys.len() as u64;
        let world = World::default().with("in force", fingerprint(&self.kept.in_force()));
        let world = world.with("there", fingerprint(&read)).with("changed keys", keys.join(", "));
        Ok(Planned {
            target: self.instance.clone(),
            effects: vec![Effect::new(text, count.max(1))],
            count,
            world,
            expected: EXPECTED,
            undo_within,
        })
    }

    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        running.step(0, 1)?;
        let (read, keys) = self.look().await?;
        planned.effects.iter().for_each(|effect| running.did(effect.clone()));
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = (!keys.is_empty()).then_some(read);
        self.rereads.look_now();
        Ok(())
    }

    fn successor(&self, _: &Planned) -> Option<Box<dyn Successor>> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Box::new(Apply { kept: self.kept.clone(), shutdown: self.shutdown.clone(), read }))
    }

    async fn undo(&self, _: &Planned, _: &[Effect], running: &Running) -> Result<(), RemedyError> {
        running.step(0, 1)?;
        if !self.kept.take_back() {
            return Err(RemedyError::NotNow("what was in force before is not known any more".to_owned()));
        }
        running.did(Effect::new(format!("{} is in force again", fingerprint(&self.kept.in_force())), 1));
        self.kept.announce();
        Ok(())
    }
}
