//! Every row of a file, in batches. A row that serving refuses is named with its line, and all others are answered.

use super::{
    Asking, answer, jobs, opened,
    rows::{Batch, Header},
};
use crate::{
    backoff::Backoff,
    output::{BAD_NEWS, Output},
    publish::{
        lines::{Content, Lines, Position},
        progress::Progress,
    },
};
use anyhow::{Context as _, bail};
use loadline_proto::inference::{ModelInferResponse, model_metadata_response::TensorMetadata};
use loadline_runtime::errors;
use std::{path::Path, process::ExitCode, time::Duration};
use tonic::{Code, Status};

/// How long serving may have too much to do, or be away in the middle of a file.
const PATIENCE: Duration = Duration::from_secs(30);

/// A row as it was written.
struct Line {
    /// From 1.
    number: u64,
    text: String,
}

/// What becomes of a file.
struct Answering<'a> {
    asking: Asking,
    output: &'a Output,
    header: Header,
    progress: Progress,
    /// The names of the columns are printed, or are not wanted.
    headed: bool,
    answered: u64,
    bad: u64,
}

/// Answers all rows, `most` at once, or makes them jobs.
///
/// # Errors
/// When the file cannot be read, or serving does not answer or refuses for another reason than a row.
pub async fn every_row(
    asking: Asking,
    output: &Output,
    path: &Path,
    inputs: &[TensorMetadata],
    most: usize,
) -> anyhow::Result<ExitCode> {
    let (reader, bytes) = opened(path)?;
    let mut lines = Lines::new(reader, Position::default());
    let Some(Content::Text(header)) = lines.next_line()? else {
        bail!("the file has no header; its first line names the columns")
    };
    let header = Header::new(header, inputs).map_err(anyhow::Error::msg)?;
    let progress = Progress::new(bytes, 0, true).of("rows");
    let mut answering = Answering { asking, output, header, progress, headed: output.json, answered: 0, bad: 0 };
    let mut rows = Vec::with_capacity(most);
    loop {
        let next = match lines.next_line()? {
            None => None,
            Some(Content::Text("")) => continue,
            Some(Content::Text(line)) => Some(Ok(line.to_owned())),
            Some(Content::Bytes) => Some(Err("is no UTF-8")),
            Some(Content::TooLong) => Some(Err("is too long")),
        };
        let (is_last, number) = (next.is_none(), lines.position().lines);
        match next {
            Some(Ok(text)) => rows.push(Line { number, text }),
            Some(Err(why)) => answering.refuse(number, why),
            None => {}
        }
        if rows.len() >= most || is_last {
            answering.settle(std::mem::take(&mut rows)).await?;
            answering.progress.settled(lines.position().bytes, answering.answered);
        }
        if is_last {
            answering.progress.finish();
            return Ok(if answering.bad > 0 { ExitCode::from(BAD_NEWS) } else { ExitCode::SUCCESS });
        }
    }
}

impl Answering<'_> {
    async fn settle(&mut self, mut rows: Vec<Line>) -> anyhow::Result<()> {
        let mut batch = self.header.batch();
        rows.retain(|line| {
            let added = self.header.add(&line.text, &mut batch);
            added.map_err(|why| self.refuse(line.number, &why)).is_ok()
        });
        match &self.asking.key {
            _ if rows.is_empty() => Ok(()),
            Some(key) => {
                let job = self.asking.submit(batch, key).await.with_context(|| which(&rows))?;
                self.output.print(&jobs::submitted(self.output, &job)?)?;
                self.answered += rows.len() as u64;
                Ok(())
            }
            None => self.answer(&rows, batch).await,
        }
    }

    /// Asks for rows. Refused ones are asked for again by halves, until those to blame are alone.
    async fn answer(&mut self, rows: &[Line], batch: Batch) -> anyhow::Result<()> {
        let mut left = vec![(rows, batch)];
        while let Some((rows, batch)) = left.pop() {
            match self.ask(batch).await.with_context(|| which(rows))? {
                Ok(answer) => {
                    self.output.print(&answer::lines(self.output, &answer, &mut self.headed)?)?;
                    self.answered += rows.len() as u64;
                }
                Err(status) if status.code() == Code::InvalidArgument && rows.len() > 1 => {
                    let (first, second) = rows.split_at(rows.len() / 2);
                    left.extend([(second, self.batch(second)?), (first, self.batch(first)?)]);
                }
                Err(status) if status.code() == Code::InvalidArgument => self.refuse(rows[0].number, status.message()),
                Err(status) => return Err(self.asking.peer.explain(&status)).with_context(|| which(rows)),
            }
        }
        Ok(())
    }

    /// Rows that were read before.
    fn batch(&mut self, rows: &[Line]) -> anyhow::Result<Batch> {
        let mut batch = self.header.batch();
        for line in rows {
            self.header.add(&line.text, &mut batch).map_err(anyhow::Error::msg)?;
        }
        Ok(batch)
    }

    async fn ask(&self, batch: Batch) -> anyhow::Result<Result<ModelInferResponse, Status>> {
        let question = self.asking.question(batch);
        let waiting = |status: &Status| self.progress.note(&format!("{}; trying again", status.message()));
        insist(self.answered > 0, waiting, || self.asking.ask(question.clone())).await
    }

    fn refuse(&mut self, line: u64, why: &str) {
        self.bad += 1;
        self.progress.note(&format!("line {line}: {why}"));
    }
}

/// Asks again where serving says when it may answer; once it `was_there`, also while it is away. The first time it says why it waits.
async fn insist<T, F>(was_there: bool, waiting: impl Fn(&Status), ask: impl Fn() -> F) -> anyhow::Result<Result<T, Status>>
where
    F: Future<Output = anyhow::Result<Result<T, Status>>>,
{
    let (mut backoff, mut said) = (Backoff::new(PATIENCE), false);
    loop {
        let reply = ask().await?;
        let Err(status) = &reply else { return Ok(reply) };
        let away = was_there && status.code() == Code::Unavailable;
        let invited = errors::retry_after(status).or(away.then_some(Duration::ZERO));
        let Some((least, wait)) = invited.and_then(|least| Some((least, backoff.failed()?))) else { return Ok(reply) };
        if !std::mem::replace(&mut said, true) {
            waiting(status);
        }
        tokio::time::sleep(wait.max(least)).await;
    }
}

/// Serving counts the rows of a request, whoever mends the file its lines.
fn which(rows: &[Line]) -> String {
    let number = |line: Option<&Line>| line.map_or(0, |line| line.number);
    format!("{} rows, from lines {} to {}", rows.len(), number(rows.first()), number(rows.last()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        cell::{Cell, RefCell},
        collections::VecDeque,
        future::ready,
    };
    use tokio::time::Instant;

    /// Asks whoever answers these in turn; what it gets in the end, and how many are left.
    async fn asked(was_there: bool, replies: impl IntoIterator<Item = Result<u8, Status>>) -> (Result<u8, Code>, usize) {
        let replies = RefCell::new(replies.into_iter().collect::<VecDeque<_>>());
        let waits = Cell::new(0);
        let count = |_: &Status| waits.set(waits.get() + 1);
        let reply = insist(was_there, count, || ready(Ok(replies.borrow_mut().pop_front().unwrap()))).await.unwrap();
        assert!(waits.get() <= 1, "it says once why it waits");
        (reply.map_err(|status| status.code()), replies.into_inner().len())
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_too_much_to_do_is_asked_again_when_it_says() {
        let full = || Err(errors::exhausted("FULL", "full", Duration::from_secs(2)));
        let began = Instant::now();
        assert_eq!(asked(false, [full(), full(), Ok(7)]).await, (Ok(7), 0));
        assert!(began.elapsed() >= Duration::from_secs(4));
        // Not for ever.
        let (given_up, left) = asked(false, (0..1_000).map(|_| full())).await;
        assert!(given_up == Err(Code::ResourceExhausted) && left > 900, "{given_up:?} {left}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_away_is_waited_for_only_where_it_was_there() {
        let away = || Err(Status::unavailable("restarting"));
        assert_eq!(asked(true, [away(), away(), Ok(7)]).await, (Ok(7), 0));
        assert_eq!(asked(false, [away(), Ok(7)]).await, (Err(Code::Unavailable), 1));
        assert_eq!(asked(true, [Err(Status::internal("broken")), Ok(7)]).await, (Err(Code::Internal), 1));
    }
}
