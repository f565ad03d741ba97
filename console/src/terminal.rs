//! The terminal: taken over at the start, and given back whatever happens.

use crate::{
    connection::Connections,
    keys::{Chord, Key, Named},
    model::Model,
    msg::{Effect, Mouse, MouseKind, Msg},
    run::{Flow, Outside},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use crossterm::{
    Command,
    cursor::Show,
    event::{
        DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange, Event, EventStream, KeyCode,
        KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
    },
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size},
};
use futures::{Stream, StreamExt as _, future::ready, stream};
use nix::sys::signal::{Signal, raise};
use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    layout::{Position, Size},
};
use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Stdout, Write as _, stdin, stdout},
    panic,
    sync::atomic::{AtomicBool, Ordering},
};
use tokio::signal::unix::{SignalKind, signal};

/// Most bytes for the clipboard: terminals drop longer ones, some with noise.
const CLIPBOARD: usize = 74_000;

/// Holds the terminal; gives it back when dropped.
#[derive(Debug)]
pub struct Taken(());

impl Taken {
    /// Takes the terminal, and the mouse where it is wanted, and sees to it that a panic gives them back before it is reported.
    ///
    /// # Errors
    /// When this is no terminal.
    pub fn take(mouse: bool) -> io::Result<Self> {
        MOUSE.store(mouse, Ordering::Relaxed);
        if !stdin().is_terminal() || !stdout().is_terminal() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            report(info);
        }));
        enter()?;
        Ok(Self(()))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether the mouse is wanted: what gives the terminal back and takes it again may be a panic or a signal.
static MOUSE: AtomicBool = AtomicBool::new(false);

/// Asks for presses and the wheel. crossterm's own command also asks for every movement, each of which would wake the console.
struct EnableClicks;

impl Command for EnableClicks {
    fn write_ansi(&self, f: &mut impl fmt::Write) -> fmt::Result {
        f.write_str("\x1b[?1000h\x1b[?1006h")
    }
}

/// The reverse.
struct DisableClicks;

impl Command for DisableClicks {
    fn write_ansi(&self, f: &mut impl fmt::Write) -> fmt::Result {
        f.write_str("\x1b[?1006l\x1b[?1000l")
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange)?;
    if MOUSE.load(Ordering::Relaxed) { execute!(stdout(), EnableClicks) } else { Ok(()) }
}

/// As far as it can: there is nobody left to tell of an error.
fn give_back() {
    if MOUSE.load(Ordering::Relaxed) {
        let _ = execute!(stdout(), DisableClicks);
    }
    let _ = execute!(stdout(), DisableFocusChange, DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Stops the process until the shell continues it, with the terminal given back meanwhile.
fn suspend() -> io::Result<()> {
    give_back();
    raise(Signal::SIGSTOP)?;
    enter()
}

/// What the loop leaves to the terminal and the connections.
#[derive(Debug)]
pub struct Host {
    /// `None`: a recording is looked at.
    pub connections: Option<Connections>,
}

impl Outside<CrosstermBackend<Stdout>> for Host {
    fn perform(
        &mut self,
        effect: Effect,
        model: &mut Model,
        _: &mut Terminal<CrosstermBackend<Stdout>>,
    ) -> Result<Flow, io::Error> {
        let effect = match &self.connections {
            Some(connections) => connections.perform(effect),
            None => Some(effect),
        };
        match effect {
            Some(Effect::Quit) => return Ok(Flow::Quit),
            Some(Effect::Redraw) => return Ok(Flow::Redraw),
            Some(Effect::Suspend) => {
                suspend()?;
                return Ok(Flow::Redraw);
            }
            Some(Effect::Copy(text)) => copy(&text)?,
            Some(Effect::Save) => {
                let notice = save(model).unwrap_or_else(|error| format!("not recorded: {error}"));
                model.ui.notice = Some((notice, model.now.elapsed));
            }
            Some(Effect::Resync { .. } | Effect::Reconnect(_) | Effect::Ask { .. } | Effect::Act { .. }) | None => {}
        }
        Ok(Flow::On)
    }
}

/// Through the terminal, which may be on another machine (OSC 52).
fn copy(text: &str) -> io::Result<()> {
    let encoded = STANDARD.encode(text);
    if encoded.len() > CLIPBOARD {
        return Ok(());
    }
    let mut out = stdout();
    write!(out, "\x1b]52;c;{encoded}\x1b\\")?;
    out.flush()
}

/// Writes the recording beside where the console was started; never over another one.
fn save(model: &Model) -> anyhow::Result<String> {
    let name = format!("loadline-{}.recording", model.now.wall.strftime("%Y%m%dT%H%M%SZ"));
    let file = File::create_new(&name)?;
    model.recorder.write(BufWriter::new(file))?;
    Ok(format!("recorded to {name}; look at it with --replay {name}"))
}

/// Key presses, pastes, sizes and signals, until there can be no more.
///
/// # Errors
/// When signals cannot be listened for.
pub fn events() -> io::Result<impl Stream<Item = Msg>> {
    let ends = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()];
    let ends = ends.into_iter().map(|kind| listen(kind, Msg::Quit)).collect::<io::Result<Vec<_>>>()?;
    let stop = listen(SignalKind::from_raw(Signal::SIGTSTP as i32), Msg::Suspend)?;
    // Without a terminal nothing can come any more.
    let keys = EventStream::new().filter_map(|event| ready(event.map_or(Some(Msg::Quit), message)));
    let keys = keys.chain(stream::once(ready(Msg::Quit))).boxed();
    Ok(stream::select(keys, stream::select(stream::select_all(ends), stop)))
}

fn listen(kind: SignalKind, msg: Msg) -> io::Result<stream::BoxStream<'static, Msg>> {
    let signals = signal(kind)?;
    Ok(stream::unfold(signals, async |mut signals| signals.recv().await.map(|()| ((), signals)))
        .map(move |()| msg.clone())
        .boxed())
}

fn message(event: Event) -> Option<Msg> {
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Repeat => chord(key).map(Msg::Repeat),
        Event::Key(key) if key.kind == KeyEventKind::Press => chord(key).map(Msg::Key),
        Event::Paste(text) => Some(Msg::Paste(text)),
        Event::Resize(..) => Some(Msg::Resized),
        Event::FocusGained => Some(Msg::Focus(true)),
        Event::FocusLost => Some(Msg::Focus(false)),
        Event::Mouse(event) => mouse(event).map(Msg::Mouse),
        Event::Key(_) => None,
    }
}

fn mouse(event: MouseEvent) -> Option<Mouse> {
    let kind = match event.kind {
        MouseEventKind::Down(MouseButton::Left) => MouseKind::Click,
        MouseEventKind::ScrollUp => MouseKind::Up,
        MouseEventKind::ScrollDown => MouseKind::Down,
        _ => return None,
    };
    let (width, height) = size().ok()?;
    Some(Mouse { kind, at: Position { x: event.column, y: event.row }, screen: Size { width, height } })
}

fn chord(event: KeyEvent) -> Option<Chord> {
    let key = match event.code {
        KeyCode::Char(' ') => Key::Named(Named::Space),
        KeyCode::Char(char) => Key::Char(char),
        KeyCode::F(number) => Key::F(number),
        KeyCode::Enter => Key::Named(Named::Enter),
        KeyCode::Esc => Key::Named(Named::Esc),
        KeyCode::Tab => Key::Named(Named::Tab),
        KeyCode::BackTab => Key::Named(Named::BackTab),
        KeyCode::Backspace => Key::Named(Named::Backspace),
        KeyCode::Delete => Key::Named(Named::Delete),
        KeyCode::Up => Key::Named(Named::Up),
        KeyCode::Down => Key::Named(Named::Down),
        KeyCode::Left => Key::Named(Named::Left),
        KeyCode::Right => Key::Named(Named::Right),
        KeyCode::Home => Key::Named(Named::Home),
        KeyCode::End => Key::Named(Named::End),
        KeyCode::PageUp => Key::Named(Named::PageUp),
        KeyCode::PageDown => Key::Named(Named::PageDown),
        _ => return None,
    };
    // Alt makes another key of it, which means nothing here.
    let alt = event.modifiers.contains(KeyModifiers::ALT);
    (!alt).then_some(Chord { ctrl: event.modifiers.contains(KeyModifiers::CONTROL), key })
}
