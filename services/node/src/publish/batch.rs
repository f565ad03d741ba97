//! A file to batches of events, read on a thread of its own, a few batches ahead of the network.

use super::{
    fault::{Fault, Reason},
    fields,
    lines::{Content, Lines, MAX_LINE_BYTES, Position},
    table::Table,
};
use anyhow::{Context as _, anyhow, bail};
use loadline_proto::event as wire;
use prost::Message as _;
use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
    mem,
    path::Path,
    thread,
};
use tokio::sync::mpsc;

/// Most encoded bytes of a batch: a request has at most 1 MiB.
const MAX_BATCH_BYTES: usize = 900 * 1024;
const READ_BUFFER_BYTES: usize = 256 * 1024;
/// Batches read ahead.
const AHEAD: usize = 2;

/// How events are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line
    Ndjson,
    /// A header, then one event a line
    Csv,
}

impl Format {
    /// By the extension of a file name.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "ndjson" | "jsonl" | "json" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// Some lines in a row.
#[derive(Debug, Default)]
pub struct Batch {
    /// Their events.
    pub events: Vec<wire::Event>,
    /// Line number of each event, from 1.
    pub lines: Vec<u64>,
    /// Lines that hold none, with their numbers.
    pub faults: Vec<(u64, Fault)>,
    /// The place behind them.
    pub end: Position,
}

/// How to cut batches.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// Events of a batch.
    pub events: usize,
    /// Stop at the first bad line; the last batch ends before it.
    pub strict: bool,
}

/// Events to read.
pub struct Source {
    lines: Lines<BufReader<Box<dyn Read + Send>>>,
    table: Option<Table>,
    cut: Cut,
    /// A pipe: hand over what is there rather than wait for a full batch.
    piped: bool,
}

impl Source {
    /// A file, from `start` on.
    ///
    /// # Errors
    /// When it cannot be read, or its header is wrong.
    pub fn open(path: &Path, format: Format, start: Position, cut: Cut) -> anyhow::Result<Self> {
        let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        if file.metadata()?.is_dir() {
            bail!("{} is a folder; name a file", path.display());
        }
        let table = table(&mut Lines::new(BufReader::new(&file), Position::default()), format)?;
        // The header is a line like any other: it is read again, and stepped over, unless `start` is behind it.
        file.seek(SeekFrom::Start(start.bytes))?;
        let mut lines = Lines::new(buffered(file), start);
        if table.is_some() && start.bytes == 0 {
            lines.next_line()?;
        }
        Ok(Self { lines, table, cut, piped: false })
    }

    /// A pipe, from its start.
    ///
    /// # Errors
    /// When it cannot be read, or its header is wrong.
    pub fn pipe(reader: impl Read + Send + 'static, format: Format, cut: Cut) -> anyhow::Result<Self> {
        let mut lines = Lines::new(buffered(reader), Position::default());
        let table = table(&mut lines, format)?;
        Ok(Self { lines, table, cut, piped: true })
    }

    /// Reads to the end on a thread. It ends by itself when the receiver is dropped, or with the process when it waits for
    /// a pipe: that is why the runtime does not own it.
    pub fn batches(mut self) -> mpsc::Receiver<io::Result<Batch>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        thread::spawn(move || {
            loop {
                let batch = self.next_batch();
                let last = !matches!(batch, Ok((_, More::Yes)));
                let empty = matches!(&batch, Ok((batch, _)) if batch.events.is_empty() && batch.faults.is_empty() && !last);
                let sent = empty || sender.blocking_send(batch.map(|(batch, _)| batch)).is_ok();
                if last || !sent {
                    return;
                }
            }
        });
        receiver
    }

    fn next_batch(&mut self) -> io::Result<(Batch, More)> {
        let mut batch = Batch { end: self.lines.position(), ..Batch::default() };
        let mut bytes = 0;
        while batch.events.len() + batch.faults.len() < self.cut.events && bytes < MAX_BATCH_BYTES {
            let Some(event) = self.next_event()? else { return Ok((batch, More::No)) };
            let number = self.lines.position().lines;
            match event {
                None => {}
                Some(Ok(event)) => {
                    bytes += event.encoded_len() + 8;
                    batch.events.push(event);
                    batch.lines.push(number);
                }
                Some(Err(fault)) => {
                    batch.faults.push((number, fault));
                    if self.cut.strict {
                        return Ok((batch, More::No));
                    }
                }
            }
            batch.end = self.lines.position();
            if self.piped && self.lines.would_wait() {
                break;
            }
        }
        Ok((batch, More::Yes))
    }

    /// The event of the next line; an inner `None` for an empty line, an outer one at the end.
    fn next_event(&mut self) -> io::Result<Option<Option<Result<wire::Event, Fault>>>> {
        let unreadable = |detail: String| Err(Fault::new(Reason::Unreadable, "", detail));
        let Some(content) = self.lines.next_line()? else { return Ok(None) };
        Ok(Some(match content {
            Content::Text(text) if text.trim().is_empty() => None,
            Content::Text(text) => Some(match &mut self.table {
                Some(table) => table.event(text),
                None => fields::from_json(text),
            }),
            Content::Bytes => Some(unreadable("is no UTF-8".to_owned())),
            Content::TooLong => Some(unreadable(format!("is longer than {MAX_LINE_BYTES} bytes"))),
        }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Yes,
    No,
}

fn buffered(reader: impl Read + Send + 'static) -> BufReader<Box<dyn Read + Send>> {
    BufReader::with_capacity(READ_BUFFER_BYTES, Box::new(reader))
}

/// The table of a CSV file, by its first line.
fn table<R: Read>(lines: &mut Lines<BufReader<R>>, format: Format) -> anyhow::Result<Option<Table>> {
    if format == Format::Ndjson {
        return Ok(None);
    }
    match lines.next_line()? {
        Some(Content::Text(header)) => Table::new(header).map(Some).map_err(|why| anyhow!("line 1: {why}")),
        Some(_) => bail!("line 1: the header is no text"),
        None => bail!("the file is empty; a CSV file starts with a header"),
    }
}

impl Batch {
    /// The events, for sending; they stay here until they are settled.
    pub fn to_send(&self) -> Vec<wire::Event> {
        self.events.clone()
    }

    /// Takes the faults out.
    pub fn take_faults(&mut self) -> Vec<(u64, Fault)> {
        mem::take(&mut self.faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Cut = Cut { events: 3, strict: false };

    fn line(id: usize) -> String {
        format!(
            r#"{{"billing": {{"event_id": "{id}", "account": "a", "occurred_at": "2026-11-21T10:00:00Z", "channel": "sms", "messages": 1, "segments": 1}}}}"#
        )
    }

    fn drain(source: Source) -> Vec<Batch> {
        let mut receiver = source.batches();
        std::iter::from_fn(|| receiver.blocking_recv()).map(Result::unwrap).collect()
    }

    fn file(content: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn batches_cover_the_file_and_number_its_lines() {
        let content = format!("{}\n\n{}\nbad\n{}\n{}", line(1), line(2), line(3), line(4));
        let (_folder, path) = file(&content);
        let batches = drain(Source::open(&path, Format::Ndjson, Position::default(), CUT).unwrap());
        let lines: Vec<u64> = batches.iter().flat_map(|batch| batch.lines.clone()).collect();
        assert_eq!(lines, [1, 3, 5, 6]);
        assert_eq!(batches[0].faults.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4]);
        assert_eq!(batches.last().unwrap().end, Position { bytes: content.len() as u64, lines: 6 });
        let resumed = drain(Source::open(&path, Format::Ndjson, batches[0].end, CUT).unwrap());
        assert_eq!(resumed.iter().flat_map(|batch| batch.lines.clone()).collect::<Vec<_>>(), [5, 6]);
    }

    #[test]
    fn a_strict_reader_ends_before_the_bad_line() {
        let (_folder, path) = file(&format!("{}\nbad\n{}\n", line(1), line(2)));
        let batches = drain(Source::open(&path, Format::Ndjson, Position::default(), Cut { strict: true, ..CUT }).unwrap());
        assert_eq!((batches.len(), batches[0].events.len(), batches[0].faults.len()), (1, 1, 1));
        assert_eq!(batches[0].end, Position { bytes: line(1).len() as u64 + 1, lines: 1 });
    }

    #[test]
    fn a_table_goes_on_under_its_header() {
        let header = "type,event_id,account,occurred_at,channel,messages,segments";
        let row = |id: u32| format!("billing,{id},a,2026-11-21T10:00:00Z,sms,1,1");
        let (_folder, path) = file(&format!("{header}\n{}\n{}\n", row(1), row(2)));
        let after_one = Position { bytes: (header.len() + row(1).len() + 2) as u64, lines: 2 };
        let whole = drain(Source::open(&path, Format::Csv, Position::default(), CUT).unwrap());
        assert_eq!(whole[0].lines, [2, 3]);
        let rest = drain(Source::open(&path, Format::Csv, after_one, CUT).unwrap());
        assert_eq!((&rest[0].lines[..], &rest[0].events[0]), (&[3][..], &whole[0].events[1]));
        assert!(Source::open(&path, Format::Csv, Position::default(), CUT).is_ok());
    }

    #[test]
    fn a_pipe_hands_over_what_is_there() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut batches = Source::pipe(reader, Format::Ndjson, Cut { events: 1_000, strict: false }).unwrap().batches();
        io::Write::write_all(&mut writer, format!("{}\n", line(1)).as_bytes()).unwrap();
        assert_eq!(batches.blocking_recv().unwrap().unwrap().events.len(), 1, "before the pipe is closed");
        drop(writer);
        assert!(batches.blocking_recv().unwrap().unwrap().events.is_empty());
        assert!(batches.blocking_recv().is_none());
    }
}
