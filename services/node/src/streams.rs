//! `loadline streams`: how far each stream is read, what retention took away unread, and letting a stopped one go on.

use crate::{
    connect::{IngestAddress, Peer},
    json,
    output::{BAD_NEWS, Column, Output, Tone, clean, count, plural},
    when::{length, second},
};
use loadline_proto::ingest::{
    ListLossesRequest, ListLossesResponse, ListStreamsRequest, ListStreamsResponse, Loss, ResumeStreamRequest, Stream,
    loss::Cause, stream::State, stream_service_client::StreamServiceClient,
};
use std::{fmt::Write as _, process::ExitCode};
use tonic::transport::Channel;

/// Most losses of one page.
const PAGE: u32 = 1_000;

/// Show how far streams are read, and what was lost
///
/// Exit codes: 0 done, 1 the stream to resume was not stopped, 2 not done.
#[derive(Debug, Clone, clap::Args)]
pub struct StreamsArgs {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(flatten)]
    pub address: IngestAddress,
}

/// As the value of `--limit`.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| format!("{text:?} is not a whole number from 1"))
}

/// Without one: how far each stream is read.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// List the records that left the log before they were counted
    Losses {
        /// Of one stream only
        #[arg(long)]
        stream: Option<String>,
        /// At most so many, the oldest first
        #[arg(long, default_value_t = 10_000, value_parser = at_least_one)]
        limit: usize,
    },
    /// Let a stream go on that its breaker stopped
    Resume {
        /// Name of the stream, such as BILLING
        stream: String,
        /// Put undecodable records up to this sequence into the dead letters without stopping again
        #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
        through: u64,
    },
}

/// Runs the command.
///
/// # Errors
/// When ingest does not answer, or refuses.
pub async fn run(args: StreamsArgs) -> anyhow::Result<ExitCode> {
    let output = Output::stdout(args.json);
    let peer = args.address.connect()?;
    let client = StreamServiceClient::new(peer.channel.clone());
    match args.command {
        None => list(&output, &peer, client).await,
        Some(Command::Losses { stream, limit }) => losses(&output, &peer, client, stream.unwrap_or_default(), limit).await,
        Some(Command::Resume { stream, through }) => resume(&output, &peer, client, stream, through).await,
    }
}

async fn list(output: &Output, peer: &Peer, mut client: StreamServiceClient<Channel>) -> anyhow::Result<ExitCode> {
    let answer = peer.call(client.list(peer.request(ListStreamsRequest {}))).await?;
    if output.json {
        output.json(&json::of("loadline.ingest.v1.ListStreamsResponse", &answer)?)?;
    } else {
        output.print(&streams_text(&answer, output))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn losses(
    output: &Output,
    peer: &Peer,
    mut client: StreamServiceClient<Channel>,
    stream: String,
    limit: usize,
) -> anyhow::Result<ExitCode> {
    let mut all = ListLossesResponse::default();
    loop {
        let page_size = u32::try_from(limit.saturating_sub(all.losses.len())).unwrap_or(PAGE).clamp(1, PAGE);
        let page_token = std::mem::take(&mut all.next_page_token);
        let request = ListLossesRequest { stream: stream.clone(), page_size, page_token };
        let page = peer.call(client.list_losses(peer.request(request))).await?;
        all.losses.extend(page.losses);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() || all.losses.len() >= limit {
            break;
        }
    }
    if output.json {
        output.json(&json::of("loadline.ingest.v1.ListLossesResponse", &all)?)?;
    } else {
        output.print(&losses_text(&all, output))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn resume(
    output: &Output,
    peer: &Peer,
    mut client: StreamServiceClient<Channel>,
    stream: String,
    through_sequence: u64,
) -> anyhow::Result<ExitCode> {
    let request = ResumeStreamRequest { stream: stream.clone(), through_sequence };
    let answer = peer.call(client.resume(peer.request(request))).await?;
    let stream = clean(&stream);
    if output.json {
        output.json(&json::of("loadline.ingest.v1.ResumeStreamResponse", &answer)?)?;
    } else if answer.resumed {
        output.print(&format!("{stream} goes on; `loadline streams` shows how far it is"))?;
    } else {
        output.print(&format!("{stream} was not stopped"))?;
    }
    Ok(if answer.resumed { ExitCode::SUCCESS } else { ExitCode::from(BAD_NEWS) })
}

fn streams_text(answer: &ListStreamsResponse, output: &Output) -> String {
    if answer.streams.is_empty() {
        return "no streams are configured".to_owned();
    }
    let mut columns = vec![Column::Left("STREAM"), Column::Left("STATE")];
    columns.extend(["APPLIED", "COUNTED", "DUPLICATES", "DEAD", "LOST", "BACKLOG", "LAG", "HEADROOM"].map(Column::Right));
    columns.push(Column::Left("OWNER"));
    let mut text = output.table(&columns, answer.streams.iter().map(cells));
    for stream in &answer.streams {
        let name = stream.progress.as_ref().map(|progress| clean(&progress.stream)).unwrap_or_default();
        notes(stream, &name, output).into_iter().for_each(|note| {
            let _ = writeln!(text, "{note}");
        });
    }
    text
}

fn cells(stream: &Stream) -> Vec<String> {
    let progress = stream.progress.clone().unwrap_or_default();
    let known = stream.log.is_some();
    let headroom = match &stream.time_headroom {
        _ if !known => "?".to_owned(),
        Some(left) => format!("{} ({:.0} %)", length(left), stream.headroom_ratio * 100.0),
        None => format!("{:.0} %", stream.headroom_ratio * 100.0),
    };
    vec![
        progress.stream,
        state(stream.state()).to_owned(),
        count(progress.applied),
        count(progress.counted),
        count(progress.duplicates),
        count(progress.dead_lettered),
        count(progress.lost),
        if known { count(stream.backlog) } else { "?".to_owned() },
        stream.lag.as_ref().map_or_else(|| "?".to_owned(), length),
        headroom,
        stream.owner.clone(),
    ]
}

fn state(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Unowned => "unowned",
        State::Stopped => "STOPPED",
        State::Unspecified => "unknown",
    }
}

/// What has to be said beside the numbers.
fn notes(stream: &Stream, name: &str, output: &Output) -> Vec<String> {
    let mut notes = Vec::new();
    if stream.unaccounted != 0 {
        let text = format!("{name}: {} records are unaccounted for; this is a bug, please report it", count(stream.unaccounted));
        notes.push(output.paint(Tone::Bad, &text));
    }
    match stream.state() {
        State::Stopped => {
            let text = format!(
                "{name} is stopped: {}. Look at them with `loadline dead-letters list --stream {name}`, then `loadline streams resume {name}`",
                clean(&stream.state_detail)
            );
            notes.push(output.paint(Tone::Bad, &text));
        }
        State::Unowned => notes.push(output.paint(Tone::Warn, &format!("{name}: no process reads it"))),
        State::Running | State::Unspecified => {}
    }
    if stream.log.is_none() {
        notes.push(output.paint(Tone::Warn, &format!("{name}: the log cannot be reached, so what waits in it is not known")));
    }
    notes
}

fn losses_text(answer: &ListLossesResponse, output: &Output) -> String {
    if answer.losses.is_empty() {
        return "nothing was lost".to_owned();
    }
    let columns = [
        Column::Right("ID"),
        Column::Left("STREAM"),
        Column::Right("FIRST"),
        Column::Right("LAST"),
        Column::Right("RECORDS"),
        Column::Left("CAUSE"),
        Column::Left("APPENDED AFTER"),
        Column::Left("AND BEFORE"),
        Column::Left("FOUND"),
    ];
    let mut text = output.listing(&columns, answer.losses.iter().map(loss_cells), &answer.next_page_token);
    let records = answer.losses.iter().map(records).fold(0, u64::saturating_add);
    let _ =
        writeln!(text, "{} in {}", plural(records, "record", "records"), plural(answer.losses.len() as u64, "loss", "losses"));
    text
}

fn loss_cells(loss: &Loss) -> Vec<String> {
    let range = loss.range.clone().unwrap_or_default();
    let cause = match loss.cause() {
        Cause::Retention => "retention",
        Cause::Deleted => "deleted",
        Cause::Recreated => "stream made again",
        Cause::Unspecified => "unknown",
    };
    vec![
        loss.id.to_string(),
        range.stream,
        count(range.first_sequence),
        count(range.last_sequence),
        count(records(loss)),
        cause.to_owned(),
        second(loss.after.as_ref()),
        second(loss.before.as_ref()),
        second(loss.recorded_at.as_ref()),
    ]
}

fn records(loss: &Loss) -> u64 {
    loss.range.as_ref().map_or(0, |range| (range.last_sequence.saturating_add(1)).saturating_sub(range.first_sequence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::PLAIN;
    use loadline_proto::{
        common::{StreamProgress, StreamRange},
        ingest::LogBounds,
    };
    use prost_types::Duration;

    fn stream(state: State) -> Stream {
        let progress = StreamProgress {
            stream: "BILLING".to_owned(),
            applied: 1_500,
            counted: 1_490,
            lost: 10,
            ..StreamProgress::default()
        };
        Stream {
            progress: Some(progress),
            state: state.into(),
            log: Some(LogBounds::default()),
            backlog: 7,
            lag: Some(Duration { seconds: 0, nanos: 250_000_000 }),
            time_headroom: Some(Duration { seconds: 540_000, nanos: 0 }),
            headroom_ratio: 0.893,
            ..Stream::default()
        }
    }

    fn text(stream: Stream) -> String {
        streams_text(&ListStreamsResponse { streams: vec![stream] }, &PLAIN)
    }

    #[test]
    fn a_healthy_stream_is_one_line() {
        let text = text(stream(State::Running));
        assert_eq!(text.lines().count(), 2, "{text}");
        for part in ["running", "1,500", "1,490", "250 ms", "6d 6h (89 %)"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn trouble_is_said_in_words() {
        let mut stopped = stream(State::Stopped);
        stopped.state_detail = "100 undecodable\u{1b}[2J records in a row".to_owned();
        stopped.unaccounted = -3;
        let shown = text(stopped);
        assert!(shown.contains("streams resume BILLING") && shown.contains("-3 records are unaccounted"), "{shown}");
        assert!(!shown.contains('\u{1b}'));
        assert!(text(stream(State::Unowned)).contains("no process reads it"));
    }

    #[test]
    fn an_unreachable_log_shows_no_backlog_rather_than_none() {
        let shown = text(Stream { log: None, lag: None, backlog: 0, ..stream(State::Running) });
        assert!(shown.contains('?') && shown.contains("cannot be reached"), "{shown}");
    }

    #[test]
    fn losses_are_counted_to_the_record() {
        let range = StreamRange { stream: "DLR".to_owned(), first_sequence: 11, last_sequence: 20, ..StreamRange::default() };
        let loss = Loss { id: 1, range: Some(range), cause: Cause::Retention.into(), ..Loss::default() };
        let answer = ListLossesResponse { losses: vec![loss.clone(), loss], next_page_token: "1".to_owned() };
        let text = losses_text(&answer, &PLAIN);
        assert!(
            text.contains("20 records in 2 losses") && text.contains("there are more") && text.contains("retention"),
            "{text}"
        );
        assert_eq!(losses_text(&ListLossesResponse::default(), &PLAIN), "nothing was lost");
    }

    #[test]
    fn programs_get_the_contracts_form() {
        let value =
            json::of("loadline.ingest.v1.ListStreamsResponse", &ListStreamsResponse { streams: vec![stream(State::Stopped)] })
                .unwrap();
        assert_eq!(value["streams"][0]["state"], "STATE_STOPPED");
        assert_eq!(value["streams"][0]["unaccounted"], 0);
        assert!(json::of("loadline.ingest.v1.ListLossesResponse", &ListLossesResponse::default()).is_ok());
        assert!(json::of("loadline.ingest.v1.ResumeStreamResponse", &()).is_ok());
    }
}
