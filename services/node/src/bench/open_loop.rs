//! Questions at a fixed rate, each due at its time whatever became of those before: waiting counts.

use anyhow::{bail, ensure};
use std::{
    future::Future,
    time::{Duration, Instant},
};
use tokio::sync::mpsc::unbounded_channel;

/// How long answers took.
pub struct Waits {
    pub asked: usize,
    pub failed: usize,
    /// Of those answered, from when each was due; shortest first, never empty.
    sorted: Vec<Duration>,
    /// How late the machine woke the thread that only waits for each to be due; shortest first. Part of every wait.
    late: Vec<Duration>,
}

impl Waits {
    /// Of so many questions, of which those that were answered took so long.
    ///
    /// # Errors
    /// When none was answered.
    pub fn of(asked: usize, failed: usize, mut waits: Vec<Duration>, mut late: Vec<Duration>) -> anyhow::Result<Self> {
        ensure!(!waits.is_empty(), "no question was answered");
        waits.sort_unstable();
        late.sort_unstable();
        Ok(Self { asked, failed, sorted: waits, late })
    }

    /// Milliseconds within which the share `q` of the answers came.
    pub fn ms(&self, q: f64) -> f64 {
        quantile(&self.sorted, q).as_secs_f64() * 1_000.0
    }

    /// Milliseconds by which the machine woke a sleeping thread late at most, in the share `q` of cases.
    pub fn wake_up_ms(&self, q: f64) -> f64 {
        quantile(&self.late, q).as_secs_f64() * 1_000.0
    }
}

/// The least value that the share `q` of the sorted values does not exceed.
pub fn quantile(sorted: &[Duration], q: f64) -> Duration {
    let rank = (sorted.len() as f64 * q).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Asks `count` questions, `rate` a second.
///
/// # Errors
/// When none was answered.
pub async fn ask<F>(rate: u32, count: u32, question: impl Fn(u32) -> F) -> anyhow::Result<Waits>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let (replies, late) = replies(rate, count, question).await?;
    let asked = replies.len();
    let (mut waits, mut failed) = (Vec::with_capacity(asked), 0);
    for (wait, reply) in replies {
        match reply {
            Ok(()) => waits.push(wait),
            Err(error) => {
                failed += 1;
                if failed == 1 {
                    eprintln!("a question failed: {error:#}");
                }
            }
        }
    }
    Waits::of(asked, failed, waits, late)
}

/// What became of `count` questions, `rate` a second, in their order: how long each reply took from when its question was due, and how late
/// the machine woke the thread that only waits for that.
///
/// # Errors
/// When a question panicked.
pub async fn replies<F, T>(
    rate: u32,
    count: u32,
    question: impl Fn(u32) -> F,
) -> anyhow::Result<(Vec<(Duration, T)>, Vec<Duration>)>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let interval = Duration::from_secs(1) / rate.max(1);
    let (ticks, mut due_now) = unbounded_channel();
    // A thread of its own wakes up within microseconds; the runtime's timers would add up to a millisecond to every wait.
    let clock = std::thread::spawn(move || {
        let (started, mut late) = (Instant::now(), Vec::with_capacity(count as usize));
        for index in 0..count.max(1) {
            let due = started + interval * index;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            late.push(due.elapsed());
            if ticks.send((index, due)).is_err() {
                break;
            }
        }
        late
    });
    let mut asking = Vec::with_capacity(count as usize);
    while let Some((index, due)) = due_now.recv().await {
        let asked = question(index);
        asking.push(tokio::spawn(async move {
            let reply = asked.await;
            (due.elapsed(), reply)
        }));
    }
    let Ok(late) = clock.join() else { bail!("the clock of the questions failed") };
    let mut replies = Vec::with_capacity(asking.len());
    for asked in asking {
        replies.push(asked.await?);
    }
    Ok((replies, late))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        let ms = |q| quantile(&values, q).as_millis();
        assert_eq!((ms(0.0), ms(0.5), ms(0.95), ms(0.99), ms(1.0)), (1, 50, 95, 99, 100));
        assert_eq!(quantile(&values[..1], 0.99), values[0]);
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }

    #[tokio::test]
    async fn questions_that_fail_are_counted_apart() {
        let asking = ask(1_000, 10, |index| async move {
            ensure!(index % 2 == 0, "odd");
            Ok(())
        });
        let waits = asking.await.unwrap();
        assert_eq!((waits.asked, waits.failed, waits.sorted.len(), waits.late.len()), (10, 5, 5, 10));
        assert!(ask(1_000, 3, |_| async { anyhow::bail!("down") }).await.is_err());
    }
}
