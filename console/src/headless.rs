//! The console without a terminal: the same model, brought up to date until there is something to say.

use crate::{
    clock::Clock,
    connection::{Connections, Stamped},
    model::{Model, standing::Knowledge},
    msg::Msg,
    plain::Plain,
    update::{settle, update},
    view::draw,
};
use ratatui::{Terminal, backend::TestBackend};
use std::{
    io::{self, Write},
    time::Duration,
};
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep_until},
};

/// Lines are added at most so often.
const PACE: Duration = Duration::from_millis(200);

/// What a headless console runs on.
#[derive(Debug)]
pub struct Headless {
    /// What is known.
    pub model: Model,
    /// Where it comes from.
    pub connections: Connections,
    /// How it arrives.
    pub inputs: Receiver<Stamped>,
    /// When.
    pub clock: Clock,
}

impl Headless {
    /// Takes what comes until then.
    async fn take_until(&mut self, end: Instant) {
        self.step(Msg::Tick, Instant::now());
        loop {
            tokio::select! {
                biased;
                () = sleep_until(end) => break,
                Some(Stamped { at, msg }) = self.inputs.recv() => self.step(msg, at),
            }
        }
        settle(&mut self.model, self.clock.now());
    }

    /// Takes what comes in the meantime.
    pub async fn listen(&mut self, time: Duration) {
        self.take_until(Instant::now() + time).await;
    }

    fn step(&mut self, msg: Msg, at: Instant) {
        for effect in update(&mut self.model, msg, self.clock.at(at)) {
            self.connections.perform(effect);
        }
    }

    /// Waits until all there is to know is known, for so long at most.
    pub async fn gather(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        while Instant::now() < end && !self.is_complete() {
            self.take_until((Instant::now() + Duration::from_millis(50)).min(end)).await;
        }
        settle(&mut self.model, self.clock.now());
    }

    fn is_complete(&self) -> bool {
        let world = &self.model.world;
        let heard = world.known(Knowledge::Live) == world.endpoints.len();
        let books = world.endpoint_of("ingest").is_none() || world.ledger.at.is_some() || world.ledger.error.is_some();
        heard && books && !world.catalogue.is_empty()
    }

    /// Adds lines for as long as somebody reads them.
    ///
    /// # Errors
    /// When nobody does.
    pub async fn follow(&mut self, mut out: impl Write) -> io::Result<()> {
        let mut plain = Plain::default();
        self.gather(Duration::from_secs(3)).await;
        loop {
            self.take_until(Instant::now() + PACE).await;
            for line in plain.lines(&self.model) {
                writeln!(out, "{line}")?;
            }
            out.flush()?;
        }
    }
}

/// One frame as text.
pub fn frame(model: &Model, columns: u16, rows: u16) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, rows));
    let Ok(_) = terminal.draw(|frame| draw(model, frame));
    let buffer = terminal.backend().buffer();
    let lines = (0..rows).map(|y| {
        // The second cell of a wide character is part of the first.
        let mut line = String::new();
        let mut x = 0;
        while x < columns {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            x += u16::try_from(crate::text::width(symbol)).unwrap_or(1).max(1);
        }
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}
