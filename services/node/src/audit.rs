//! `loadline audit`: what was done to the system, by whom and why; and whether anybody changed that record.

use crate::{
    connect::{IngestAddress, Peer},
    json,
    output::{BAD_NEWS, Column, Output, Tone, clean, plural},
    when::second,
};
use anyhow::Context as _;
use loadline_health::audit::{Break, Entry, GENESIS, Hash, verify};
use loadline_proto::health::{
    AuditEntry, ListAuditRequest, ListAuditResponse, failure_mode_service_client::FailureModeServiceClient,
};
use serde_json::json;
use std::{collections::VecDeque, fmt::Write as _, process::ExitCode};
use tonic::transport::Channel;

/// Most entries of one page.
const PAGE: u32 = 1_000;

/// Show what was planned, done and refused, the newest last
///
/// The services of one store share one audit. Exit codes: 0 done, 1 the chain is broken or lacks the hash asked for, 2 not done.
#[derive(Debug, Clone, clap::Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Option<Command>,
    /// At most so many, the newest
    #[arg(long, default_value_t = 50, value_parser = crate::streams::at_least_one)]
    limit: usize,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    address: IngestAddress,
}

/// Without one: the newest entries.
#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Compute every hash of the chain again, and name the first entry that does not fit
    Verify {
        /// A hash that an earlier `verify` printed, in hexadecimal: it must still be in the chain. Only this shows that newer
        /// entries were cut off
        #[arg(long, value_name = "HASH", value_parser = hash)]
        holds: Option<Hash>,
    },
}

fn hash(text: &str) -> Result<Hash, String> {
    blake3::Hash::from_hex(text).map(Into::into).map_err(|_| "is no hash: 64 hexadecimal digits".to_owned())
}

/// Runs the command.
///
/// # Errors
/// When ingest does not answer, or refuses.
pub async fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    let output = Output::stdout(args.json);
    let mut audit = Audit { peer: args.address.connect()?, after: Some(String::new()) };
    match args.command {
        None => list(&output, &mut audit, args.limit).await,
        Some(Command::Verify { holds }) => check(&output, &mut audit, holds).await,
    }
}

/// The whole audit, a page at a time.
struct Audit {
    peer: Peer,
    /// Token of the next page, while there is one.
    after: Option<String>,
}

impl Audit {
    async fn page(&mut self) -> anyhow::Result<Option<Vec<AuditEntry>>> {
        let Some(page_token) = self.after.take() else { return Ok(None) };
        let mut client = FailureModeServiceClient::<Channel>::new(self.peer.channel.clone());
        let ask = self.peer.request(ListAuditRequest { page_size: PAGE, page_token });
        let ListAuditResponse { entries, next_page_token } = self.peer.call(client.list_audit(ask)).await?;
        self.after = Some(next_page_token).filter(|token| !token.is_empty());
        Ok(Some(entries))
    }
}

async fn list(output: &Output, audit: &mut Audit, limit: usize) -> anyhow::Result<ExitCode> {
    let mut newest = VecDeque::new();
    while let Some(entries) = audit.page().await? {
        newest.extend(entries);
        newest.drain(..newest.len().saturating_sub(limit));
    }
    let entries: Vec<_> = newest.into();
    if output.json {
        output.json(&json::of("loadline.health.v1.ListAuditResponse", &ListAuditResponse { entries, ..Default::default() })?)?;
    } else {
        output.print(&listed(&entries, output))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(entries: &[AuditEntry], output: &Output) -> String {
    if entries.is_empty() {
        return "nothing was done yet".to_owned();
    }
    let columns = ["ID", "TIME", "WHO", "WHAT", "ON", "OUTCOME", "WHY"].map(Column::Left);
    let cells = |entry: &AuditEntry| {
        let AuditEntry { id, at, actor, action, target, outcome, reason, .. } = entry.clone();
        vec![id.to_string(), second(at.as_ref()), actor, action, target, outcome, reason]
    };
    output.table(&columns, entries.iter().map(cells))
}

/// What a look at the whole chain found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verified {
    entries: u64,
    /// Of the last entry that fits.
    last: Hash,
    broken: Option<Break>,
    /// Whether the hash asked for is in the chain.
    holds: bool,
}

impl Verified {
    /// Takes the next page in; false when the chain is broken in it.
    fn takes(&mut self, entries: &[Entry], wanted: Option<&Hash>) -> bool {
        for entry in entries {
            match verify(self.last, std::slice::from_ref(entry)) {
                Ok(last) => (self.last, self.entries) = (last, self.entries + 1),
                Err(broken) => {
                    self.broken = Some(broken);
                    return false;
                }
            }
            self.holds |= wanted == Some(&self.last);
        }
        true
    }
}

async fn check(output: &Output, audit: &mut Audit, wanted: Option<Hash>) -> anyhow::Result<ExitCode> {
    let mut verified = Verified { last: GENESIS, ..Verified::default() };
    while let Some(page) = audit.page().await? {
        let entries: Result<Vec<Entry>, _> = page.into_iter().map(Entry::try_from).collect();
        if !verified.takes(&entries.context("an entry is not as the contract has it")?, wanted.as_ref()) {
            break;
        }
    }
    let lacks = wanted.is_some() && !verified.holds;
    let last = blake3::Hash::from(verified.last).to_hex();
    if output.json {
        let broken_at = verified.broken.map(|broken| broken.at);
        let holds = wanted.map(|_| verified.holds);
        output
            .json(&json!({ "entries": verified.entries, "last_hash": last.as_str(), "broken_at": broken_at, "holds": holds }))?;
    } else {
        output.print(&told(&verified, lacks, last.as_str(), output))?;
    }
    Ok(if verified.broken.is_some() || lacks { ExitCode::from(BAD_NEWS) } else { ExitCode::SUCCESS })
}

fn told(verified: &Verified, lacks: bool, last: &str, output: &Output) -> String {
    let fitting = plural(verified.entries, "entry", "entries");
    let mut text = match verified.broken {
        Some(broken) => output.paint(Tone::Bad, &format!("{}; {fitting} before it fit", clean(&broken.to_string()))),
        None => output.paint(Tone::Good, &format!("the chain of {fitting} is whole")),
    };
    if lacks {
        let _ = write!(
            text,
            "\n{}",
            output.paint(Tone::Bad, "the hash asked for is not in it: entries were cut off, or all hashed anew")
        );
    }
    let _ = write!(text, "\nlast hash {last}; keep it elsewhere, for `--holds`");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::PLAIN;
    use loadline_health::audit::{self, Record};
    use std::time::{Duration, SystemTime};

    fn chain(length: u64) -> Vec<Entry> {
        let mut previous_hash = GENESIS;
        let mut link = |id| {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(id);
            let record = Record { actor: format!("actor {id}"), ..Record::default() };
            let entry = Entry { id, at, hash: audit::hash(&previous_hash, at, &record), record, previous_hash };
            previous_hash = entry.hash;
            entry
        };
        (1..=length).map(&mut link).collect()
    }

    #[test]
    fn pages_are_one_chain_and_a_hash_of_an_earlier_look_is_in_it() {
        let entries = chain(5);
        let (mut verified, wanted) = (Verified::default(), entries[1].hash);
        assert!(verified.takes(&entries[..2], Some(&wanted)) && verified.takes(&entries[2..], Some(&wanted)));
        assert_eq!(verified, Verified { entries: 5, last: entries[4].hash, broken: None, holds: true });
        let mut cut = Verified::default();
        assert!(cut.takes(&entries[..1], Some(&wanted)) && !cut.holds);
    }

    #[test]
    fn the_first_entry_that_does_not_fit_is_named() {
        let mut entries = chain(5);
        entries[3].record.actor = "nobody".to_owned();
        let mut verified = Verified::default();
        assert!(!verified.takes(&entries, None));
        assert_eq!((verified.broken, verified.entries), (Some(Break { at: 4 }), 3));
        let text = told(&verified, false, "", &PLAIN);
        assert!(text.contains("broken at entry 4") && text.contains("3 entries before it fit"), "{text}");
        entries.remove(1);
        let mut verified = Verified::default();
        assert!(!verified.takes(&entries, None));
        assert_eq!(verified.broken, Some(Break { at: 3 }));
    }

    #[test]
    fn a_hash_is_read_from_hexadecimal_digits_alone() {
        assert_eq!(hash(&"0".repeat(64)), Ok(GENESIS));
        assert!(hash("12").is_err() && hash(&"x".repeat(64)).is_err());
    }
}
