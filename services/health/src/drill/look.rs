//! Looks that are repeated until they say yes or their time is over.

use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until a look says yes; answers how long that took.
///
/// # Errors
/// What the last look said, when there was no yes within `budget`.
pub async fn until<Look>(budget: Duration, mut look: impl FnMut() -> Look) -> Result<Duration, String>
where
    Look: Future<Output = Result<(), String>>,
{
    let (start, mut last) = (Instant::now(), "no look came to its end".to_owned());
    loop {
        match timeout_at(start + budget, look()).await {
            Ok(Ok(())) => return Ok(start.elapsed()),
            Ok(Err(why)) => last = why,
            Err(_) => return Err(last),
        }
        if start.elapsed() + PAUSE > budget {
            return Err(last);
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn a_look_is_repeated_until_it_says_yes_and_not_beyond_its_time() {
        let looks = Cell::new(0);
        let third = || async {
            looks.set(looks.get() + 1);
            if looks.get() == 3 { Ok(()) } else { Err(format!("look {}", looks.get())) }
        };
        assert_eq!(until(Duration::from_secs(1), third).await, Ok(PAUSE * 2));
        assert_eq!(until(Duration::from_millis(250), || async { Err("never".to_owned()) }).await, Err("never".to_owned()));
        let hangs = until(Duration::from_secs(1), std::future::pending).await;
        assert!(hangs.is_err(), "a look that hangs is no yes");
    }
}
