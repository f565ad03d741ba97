//! The loop: take everything that has come, then draw at most one frame. Generic over terminal and outside, so that tests run
//! this very loop.

use crate::{
    clock::Clock,
    connection::Stamped,
    model::Model,
    moment::Moment,
    msg::{Effect, Input, Msg, Seen, What},
    update::{settle, update},
    view::draw_and_measure,
};
use futures::{Stream, StreamExt as _};
use loadline_proto::health::frame::Body;
use ratatui::{
    Terminal,
    backend::Backend,
    layout::{Position, Rect},
};
use std::time::Duration;
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep_until},
};

/// Between two frames that no key asked for.
pub const FRAME: Duration = Duration::from_millis(50);
/// Most messages taken before a frame is drawn.
const DRAIN: usize = 10_000;

/// What the loop leaves to others.
pub trait Outside<B: Backend> {
    /// Does what is asked.
    ///
    /// # Errors
    /// When the terminal is gone.
    fn perform(&mut self, effect: Effect, model: &mut Model, terminal: &mut Terminal<B>) -> Result<Flow, B::Error>;
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    On,
    /// Everything on screen is gone: draw it again.
    Redraw,
    /// End.
    Quit,
}

/// Runs until somebody ends it, or until no key can come any more.
///
/// # Errors
/// When the terminal is gone.
pub async fn run<B: Backend>(
    model: &mut Model,
    terminal: &mut Terminal<B>,
    inputs: &mut Receiver<Stamped>,
    keys: impl Stream<Item = Msg>,
    outside: &mut impl Outside<B>,
    clock: Clock,
) -> Result<(), B::Error> {
    tokio::pin!(keys);
    let mut pace = Pace::new(clock);
    update(model, Msg::Tick, clock.now());
    paint(model, terminal, &mut pace, clock)?;
    loop {
        let mut batch: Vec<Stamped> = Vec::new();
        let silence = model.world.next_silence(clock.now()).map(|at| clock.instant(at));
        let tick = silence.map_or(pace.tick, |silence| silence.min(pace.tick));
        tokio::select! {
            biased;
            key = keys.next() => match key {
                Some(msg) => batch.push(Stamped { at: Instant::now(), msg }),
                None => return Ok(()),
            },
            Some(input) = inputs.recv() => batch.push(input),
            () = sleep_until(tick) => batch.push(Stamped { at: Instant::now(), msg: Msg::Tick }),
            () = sleep_until(pace.drawn + FRAME), if pace.dirty => {}
        }
        while batch.len() < DRAIN
            && let Ok(input) = inputs.try_recv()
        {
            batch.push(input);
        }
        for stamped in batch {
            pace.note(&stamped, clock);
            let now = later(clock.at(stamped.at), model.now);
            for effect in update(model, stamped.msg, now) {
                match outside.perform(effect, model, terminal)? {
                    Flow::On => {}
                    Flow::Redraw => forget(terminal)?,
                    Flow::Quit => return Ok(()),
                }
            }
        }
        if pace.due() {
            paint(model, terminal, &mut pace, clock)?;
        }
    }
}

/// Clears the screen and draws all of it next time. `Terminal::clear` would ask the terminal where its cursor is, and wait for
/// an answer that comes among the keys.
fn forget<B: Backend>(terminal: &mut Terminal<B>) -> Result<(), B::Error> {
    let size = terminal.size()?;
    terminal.resize(Rect::from((Position::ORIGIN, size)))
}

/// Inputs are dated by when they came; the model's time never runs back.
fn later(one: Moment, other: Moment) -> Moment {
    if one.elapsed < other.elapsed { Moment { elapsed: other.elapsed, ..one } } else { one }
}

fn paint<B: Backend>(model: &mut Model, terminal: &mut Terminal<B>, pace: &mut Pace, clock: Clock) -> Result<(), B::Error> {
    settle(model, later(clock.now(), model.now));
    let mut seen = Seen::default();
    terminal.draw(|frame| seen = draw_and_measure(model, frame))?;
    let now = Instant::now();
    let waited = pace.oldest.take().map(|oldest| now.saturating_duration_since(oldest));
    update(model, Msg::Drawn { waited, seen }, model.now);
    (pace.drawn, pace.dirty, pace.pressed) = (now, false, false);
    Ok(())
}

/// When to draw.
struct Pace {
    drawn: Instant,
    /// Ages and the time of day are drawn then, when nothing else happens: once a second.
    tick: Instant,
    dirty: bool,
    /// A key was pressed: its effect is not to wait.
    pressed: bool,
    /// When the oldest message came that is not drawn.
    oldest: Option<Instant>,
}

impl Pace {
    fn new(clock: Clock) -> Self {
        Self { drawn: Instant::now(), tick: clock.next_second(), dirty: false, pressed: false, oldest: None }
    }

    fn note(&mut self, stamped: &Stamped, clock: Clock) {
        let heartbeat = matches!(&stamped.msg, Msg::Input(Input { what: What::Frame { frame, .. }, .. })
            if matches!(frame.body, Some(Body::Heartbeat(_))));
        match stamped.msg {
            // It changes ages only, which the next tick draws.
            Msg::Input(_) if heartbeat => return,
            Msg::Input(_) => self.oldest = Some(self.oldest.map_or(stamped.at, |oldest| oldest.min(stamped.at))),
            Msg::Tick => self.tick = clock.next_second(),
            _ => self.pressed = true,
        }
        self.dirty = true;
    }

    fn due(&self) -> bool {
        self.dirty && (self.pressed || self.drawn.elapsed() >= FRAME)
    }
}
