//! Results, read again when their files change, and put in place whole.

use super::{
    Football,
    results::{self, Files, Results},
};
use loadline_domain::Clock;
use loadline_runtime::Shutdown;
use std::{io, path::Path, sync::Arc, time::Duration};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);

impl Football {
    /// Follows the folder until shutdown. What cannot be read leaves in use what was read before.
    pub async fn follow(&self, clock: Arc<dyn Clock>, shutdown: &Shutdown) {
        let Some(folder) = self.0.folder.clone() else { return };
        let mut known: Option<Files> = None;
        while !shutdown.is_begun() {
            let (folder, before, clock) = (folder.clone(), known.clone(), clock.clone());
            let looked = tokio::task::spawn_blocking(move || look(&folder, before.as_ref(), &*clock)).await;
            match looked {
                Ok(Ok(Some((files, results)))) => {
                    told(&results);
                    known = Some(files);
                    self.0.results.store(Some(Arc::new(results)));
                    self.say(None);
                }
                Ok(Ok(None)) if known.is_some() => self.say(None),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => self.failed(error.to_string()),
                Err(error) => self.failed(error.to_string()),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    fn failed(&self, why: String) {
        if self.problem().as_ref() != Some(&why) {
            tracing::warn!(why, "results are not read; what was read before stays");
        }
        self.say(Some(why));
    }
}

/// What is new in the folder. What changed while it was read waits for the next look: it may be half written.
fn look(folder: &Path, known: Option<&Files>, clock: &dyn Clock) -> io::Result<Option<(Files, Results)>> {
    let files = results::find(folder)?;
    if known == Some(&files) {
        return Ok(None);
    }
    let read = results::read(&files, clock.now())?;
    Ok((results::find(folder)? == files).then_some((files, read)))
}

fn told(results: &Results) {
    let matches: usize = results.leagues.values().map(|league| league.matches().len()).sum();
    tracing::info!(leagues = results.leagues.len(), matches, bad_rows = results.bad_rows, "results are read");
    for problem in &results.problems {
        tracing::warn!(problem, "a row is no result");
    }
}
