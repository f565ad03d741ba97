//! `loadline dead-letters`: what was read but could not be counted, and deciding about it.
//!
//! Redriving and discarding show what they would do, and do it with `--yes`.

mod letter;

use crate::{
    connect::{IngestAddress, Peer},
    json,
    output::{Column, Output, Tone, clean, count, plural},
    streams::at_least_one,
    when::{When, second, to_proto},
};
use anyhow::bail;
use loadline_domain::{Clock as _, time::SystemClock};
use loadline_proto::ingest::{
    DeadLetter, DeadLetterFilter, DeadLetterReason, DeadLetterState, DiscardRequest, DiscardResponse, GetDeadLetterRequest,
    ListDeadLettersRequest, ListDeadLettersResponse, ReasonCount, RedriveRequest, RedriveResponse,
    dead_letter_service_client::DeadLetterServiceClient,
};
use std::{fmt::Write as _, process::ExitCode};
use tonic::transport::Channel;

/// Most letters of one page.
const PAGE: u32 = 1_000;

type Client = DeadLetterServiceClient<Channel>;

/// Show, redrive or discard what could not be counted
///
/// Exit codes: 0 done (or shown, without --yes), 2 not done.
#[derive(Debug, Clone, clap::Args)]
pub struct DeadLettersArgs {
    #[command(subcommand)]
    pub command: Command,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(flatten)]
    pub address: IngestAddress,
}

/// What to do with them.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// List dead letters
    List {
        #[command(flatten)]
        filter: Filter,
        /// Those that are
        #[arg(long, value_enum, default_value_t = Standing::Open)]
        state: Standing,
        /// At most so many, the oldest first
        #[arg(long, default_value_t = 100, value_parser = at_least_one)]
        limit: usize,
    },
    /// Show one letter with its payload, decoded when possible
    Show {
        /// Its id, as listed
        id: u64,
    },
    /// Judge open letters again, as of now, and count those that can be counted
    Redrive {
        #[command(flatten)]
        filter: Filter,
        /// Take events past their dedup horizon; whether one was counted long ago can no longer be known
        #[arg(long)]
        accept_late: bool,
        /// Stop after so many
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        consent: Consent,
    },
    /// Give up open letters; they stay listed
    Discard {
        #[command(flatten)]
        filter: Filter,
        /// Why; kept with the letters
        #[arg(long, default_value = "")]
        note: String,
        #[command(flatten)]
        consent: Consent,
    },
}

/// Whether to do it.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Consent {
    /// Do it; without this it is only shown what would happen
    #[arg(long)]
    pub yes: bool,
    /// Only show what would happen (the default)
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
}

/// Which letters; all that is given must hold.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Filter {
    /// Of this stream
    #[arg(long)]
    pub stream: Option<String>,
    /// For this reason
    #[arg(long, value_enum, ignore_case = true)]
    pub reason: Option<Reason>,
    /// Of this account
    #[arg(long)]
    pub account: Option<String>,
    /// Appended to the log at this time or later: 2026-11-21T10:00:00Z, or so long ago: 24h
    #[arg(long, value_name = "TIME")]
    pub from: Option<When>,
    /// Appended before
    #[arg(long, value_name = "TIME")]
    pub to: Option<When>,
    /// With these ids
    #[arg(long, value_delimiter = ',')]
    pub id: Vec<u64>,
}

/// Why a letter is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Reason {
    /// The bytes are no event
    Undecodable,
    /// A field breaks its contract
    Invalid,
    /// Ahead of the clock
    Future,
    /// Past the dedup horizon
    Late,
    /// Its id was counted with other content
    Conflict,
}

/// Where a letter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Standing {
    /// Waiting for a decision
    Open,
    /// Redriven and counted
    Counted,
    /// Redriven and found counted before
    Duplicate,
    /// Given up
    Discarded,
}

/// Runs the command.
///
/// # Errors
/// When ingest does not answer, or refuses.
pub async fn run(args: DeadLettersArgs) -> anyhow::Result<ExitCode> {
    let output = Output::stdout(args.json);
    let peer = args.address.connect()?;
    let client = DeadLetterServiceClient::new(peer.channel.clone());
    match args.command {
        Command::List { filter, state, limit } => list(&output, &peer, client, &filter, state, limit).await?,
        Command::Show { id } => show(&output, &peer, client, id).await?,
        Command::Redrive { filter, accept_late, limit, consent } => {
            let request = RedriveRequest { filter: Some(filter.to_proto()), dry_run: !consent.yes, accept_late, limit };
            redrive(&output, &peer, client, request).await?;
        }
        Command::Discard { filter, note, consent } => {
            let filter = filter.to_proto();
            if filter == DeadLetterFilter::default() {
                bail!("say which letters to give up: --reason, --stream, --account, --from, --to or --id");
            }
            if consent.yes && note.trim().is_empty() {
                bail!("say why with --note; it is kept with the letters");
            }
            discard(&output, &peer, client, DiscardRequest { filter: Some(filter), dry_run: !consent.yes, note }).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(
    output: &Output,
    peer: &Peer,
    mut client: Client,
    filter: &Filter,
    state: Standing,
    limit: usize,
) -> anyhow::Result<()> {
    let filter = filter.to_proto();
    let mut all = ListDeadLettersResponse::default();
    loop {
        let page_size = u32::try_from(limit.saturating_sub(all.dead_letters.len())).unwrap_or(PAGE).clamp(1, PAGE);
        let page_token = std::mem::take(&mut all.next_page_token);
        let request =
            ListDeadLettersRequest { filter: Some(filter.clone()), state: state.to_proto().into(), page_size, page_token };
        let page = peer.call(client.list(peer.request(request))).await?;
        all.dead_letters.extend(page.dead_letters);
        (all.next_page_token, all.totals) = (page.next_page_token, page.totals);
        if all.next_page_token.is_empty() || all.dead_letters.len() >= limit {
            break;
        }
    }
    if output.json {
        output.json(&json::of("loadline.ingest.v1.ListDeadLettersResponse", &all)?)?;
    } else {
        output.print(&list_text(&all, state, output))?;
    }
    Ok(())
}

async fn show(output: &Output, peer: &Peer, mut client: Client, id: u64) -> anyhow::Result<()> {
    let dead_letter = peer.call(client.get(peer.request(GetDeadLetterRequest { id }))).await?;
    if output.json {
        let mut value = json::of("loadline.ingest.v1.DeadLetter", &dead_letter)?;
        value["event"] = letter::decoded(&dead_letter.payload)?.unwrap_or_default();
        output.json(&value)?;
    } else {
        output.print(&letter::text(&dead_letter, output)?)?;
    }
    Ok(())
}

async fn redrive(output: &Output, peer: &Peer, mut client: Client, request: RedriveRequest) -> anyhow::Result<()> {
    let answer = peer.call(client.redrive(peer.request(request))).await?;
    if output.json {
        output.json(&json::of("loadline.ingest.v1.RedriveResponse", &answer)?)?;
    } else {
        output.print(&redrive_text(&answer, output))?;
    }
    Ok(())
}

async fn discard(output: &Output, peer: &Peer, mut client: Client, request: DiscardRequest) -> anyhow::Result<()> {
    let answer = peer.call(client.discard(peer.request(request))).await?;
    if output.json {
        output.json(&json::of("loadline.ingest.v1.DiscardResponse", &answer)?)?;
    } else {
        output.print(&discard_text(&answer, output))?;
    }
    Ok(())
}

fn list_text(answer: &ListDeadLettersResponse, state: Standing, output: &Output) -> String {
    let mut text = String::new();
    if answer.dead_letters.is_empty() {
        text.push_str("no such dead letters\n");
    } else {
        let columns = ["REASON", "STREAM", "SEQUENCE", "APPENDED", "ACCOUNT", "EVENT TIME", "DETAIL"].map(Column::Left);
        let columns: Vec<Column> = std::iter::once(Column::Right("ID")).chain(columns).collect();
        text.push_str(&output.listing(&columns, answer.dead_letters.iter().map(cells), &answer.next_page_token));
    }
    if state == Standing::Open || !answer.totals.is_empty() {
        let _ = writeln!(text, "open: {}", by_reason(&answer.totals));
    }
    text
}

fn cells(letter: &DeadLetter) -> Vec<String> {
    vec![
        letter.id.to_string(),
        reason_name(letter.reason()).to_owned(),
        letter.stream.clone(),
        letter.sequence.to_string(),
        second(letter.recorded_at.as_ref()),
        letter.account.clone(),
        second(letter.event_time.as_ref()),
        letter.detail.clone(),
    ]
}

fn redrive_text(answer: &RedriveResponse, output: &Output) -> String {
    let looked_at = plural(answer.matched, "letter", "letters");
    let (counted, duplicates) = (count(answer.counted), count(answer.duplicates));
    let dead_again = by_reason(&answer.dead_again);
    if answer.dry_run {
        let text = format!("of {looked_at}, {counted} would be counted, {duplicates} are duplicates; still dead: {dead_again}\n");
        return text + &nothing_changed(output);
    }
    format!("of {looked_at}, {counted} were counted, {duplicates} were duplicates; still dead: {dead_again}\n")
}

fn discard_text(answer: &DiscardResponse, output: &Output) -> String {
    let letters = plural(answer.discarded, "letter", "letters");
    if answer.dry_run {
        format!("{letters} would be given up\n{}", nothing_changed(output))
    } else {
        format!("gave up {letters}\n")
    }
}

fn nothing_changed(output: &Output) -> String {
    output.paint(Tone::Warn, "nothing was changed; add --yes to do it") + "\n"
}

/// `12 LATE · 3 INVALID`, or `none`.
fn by_reason(counts: &[ReasonCount]) -> String {
    let counts = counts.iter().filter(|of| of.count > 0).map(|of| format!("{} {}", count(of.count), reason_name(of.reason())));
    let text = counts.collect::<Vec<_>>().join(" · ");
    if text.is_empty() { "none".to_owned() } else { clean(&text) }
}

fn reason_name(reason: DeadLetterReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("DEAD_LETTER_REASON_").unwrap_or(name)
}

fn state_name(state: DeadLetterState) -> &'static str {
    let name = state.as_str_name();
    name.strip_prefix("DEAD_LETTER_STATE_").unwrap_or(name)
}

impl Filter {
    fn to_proto(&self) -> DeadLetterFilter {
        let now = SystemClock.now();
        DeadLetterFilter {
            stream: self.stream.clone().unwrap_or_default(),
            reason: self.reason.map_or(DeadLetterReason::Unspecified, Reason::to_proto).into(),
            account: self.account.clone().unwrap_or_default(),
            from: self.from.map(|from| to_proto(from.at(now))),
            to: self.to.map(|to| to_proto(to.at(now))),
            ids: self.id.clone(),
        }
    }
}

impl Reason {
    fn to_proto(self) -> DeadLetterReason {
        match self {
            Self::Undecodable => DeadLetterReason::Undecodable,
            Self::Invalid => DeadLetterReason::Invalid,
            Self::Future => DeadLetterReason::Future,
            Self::Late => DeadLetterReason::Late,
            Self::Conflict => DeadLetterReason::Conflict,
        }
    }
}

impl Standing {
    fn to_proto(self) -> DeadLetterState {
        match self {
            Self::Open => DeadLetterState::Open,
            Self::Counted => DeadLetterState::Counted,
            Self::Duplicate => DeadLetterState::Duplicate,
            Self::Discarded => DeadLetterState::Discarded,
        }
    }
}

#[cfg(test)]
mod tests;
