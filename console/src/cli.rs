//! The command line.

use crate::{
    action::{KeyMap, markdown},
    clock::Clock,
    connection::{Connections, Stamped},
    headless::{Headless, frame},
    model::{Model, Replay, world::Target},
    plain::{self, Verdict},
    recorder::Recorder,
    run::run,
    terminal::{Host, Taken, events},
    view::theme::{Look, Theme},
};
use anyhow::Context as _;
use clap::{Parser, Subcommand};
use futures::StreamExt as _;
use ratatui::{Terminal, backend::CrosstermBackend};
use std::{
    fs::{self, File},
    future::pending,
    io::{self, BufReader, ErrorKind, Write as _, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::{self, Receiver},
};

/// The operator's console of Loadline. It is read-only.
#[derive(Debug, Parser)]
#[command(name = "loadline-console", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    watched: Watched,
    #[command(flatten)]
    screen: ScreenArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXIT_CODES: &str = "Exit codes of check: 0 nothing is open; 1 P3 to P5, or something is suspected; 2 P1 or P2; \
                          3 not everything could be seen, or it could not be asked.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Says once how everything is, for a monitoring system or a script
    Check(CheckArgs),
    /// Prints the table of keys and actions, with those of --keys
    Keys,
}

/// `check` by itself, for a program that has the console among its commands.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Check {
    #[command(flatten)]
    watched: Watched,
    #[command(flatten)]
    args: CheckArgs,
}

impl Check {
    /// Prints how everything is. The exit code says the worst of it, or that it could not be asked.
    pub fn run(self) -> ExitCode {
        let checked = || {
            runtime()?.block_on(async {
                let look = Look::of_environment(Theme::default(), true);
                check(headless(&self.watched.connect, KeyMap::default(), look), &self.args).await
            })
        };
        checked().unwrap_or_else(|error: io::Error| {
            eprintln!("{error:#}");
            ExitCode::from(UNSEEN)
        })
    }
}

/// Exit code of a check that could not ask.
const UNSEEN: u8 = 3;

#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// Everything, for a program
    #[arg(long, conflicts_with = "prometheus")]
    json: bool,
    /// Figures in Prometheus' text format
    #[arg(long)]
    prometheus: bool,
    /// Seconds after which what has not answered counts as not seen
    #[arg(long, value_name = "SECONDS", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
    patience: u64,
}

/// Whom to watch.
#[derive(Debug, Clone, clap::Args)]
pub struct Watched {
    /// A process to watch, as HOST:PORT or SERVICE=HOST:PORT; may be repeated
    #[arg(
        long, value_name = "[SERVICE=]HOST:PORT", env = "LOADLINE_CONNECT", value_delimiter = ',', value_parser = target,
        default_values = ["ingest=127.0.0.1:7401", "query=127.0.0.1:7402", "rollup=127.0.0.1:7403", "serving=127.0.0.1:7404"], global = true,
    )]
    connect: Vec<Target>,
}

/// How it looks, and what the keys are.
#[derive(Debug, Clone, clap::Args)]
struct ScreenArgs {
    /// Colours; none when NO_COLOR is set
    #[arg(long, value_enum, default_value_t, global = true)]
    theme: Theme,
    /// Draw with nothing but ASCII; also when the locale is not UTF-8
    #[arg(long, global = true)]
    ascii: bool,
    /// A TOML file of keys, lines of `action = ["key", …]`
    #[arg(long, value_name = "FILE", env = "LOADLINE_CONSOLE_KEYS", global = true)]
    keys: Option<PathBuf>,
    /// Leave the mouse to the terminal
    #[arg(long, global = true)]
    no_mouse: bool,
    /// Look at a recording instead of connecting
    #[arg(long, value_name = "FILE", conflicts_with_all = ["connect", "once", "plain"])]
    replay: Option<PathBuf>,
    /// Print one frame and end
    #[arg(long, conflicts_with = "plain")]
    once: bool,
    /// Print what happens, a line each
    #[arg(long)]
    plain: bool,
}

fn target(text: &str) -> Result<Target, String> {
    let (service, address) = text.split_once('=').unwrap_or(("", text));
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(_) => Ok(Target { address: address.to_owned(), service: service.to_owned() }),
        None => Err("write HOST:PORT or SERVICE=HOST:PORT, such as query=127.0.0.1:7402".to_owned()),
    }
}

impl ScreenArgs {
    fn look(&self) -> Look {
        Look::of_environment(self.theme, self.ascii)
    }

    fn mouse(&self) -> bool {
        !self.no_mouse && mouse_of_environment()
    }

    fn keys(&self) -> anyhow::Result<KeyMap> {
        let Some(path) = &self.keys else { return Ok(KeyMap::default()) };
        let text = fs::read_to_string(path).with_context(|| format!("keys of {}", path.display()))?;
        KeyMap::with(&text).with_context(|| format!("keys of {}", path.display()))
    }
}

impl Cli {
    /// Does what the command line asks, on a runtime of its own.
    ///
    /// # Errors
    /// What kept it from that, in words.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let screen = &self.screen;
        match &self.command {
            Some(Command::Keys) => print(&markdown(&self.screen.keys()?))?,
            Some(Command::Check(args)) => return runtime()?.block_on(async { Ok(check(self.headless()?, args).await?) }),
            None if screen.once => runtime()?.block_on(self.once())?,
            None if screen.plain => runtime()?.block_on(self.plain())?,
            None => match &screen.replay {
                Some(path) => show_recording(path, screen.keys()?, screen.look(), screen.mouse())?,
                None => watch(&self.watched.connect, screen.keys()?, screen.look(), screen.mouse(), false, pending())?,
            },
        }
        Ok(ExitCode::SUCCESS)
    }

    fn headless(&self) -> anyhow::Result<Headless> {
        Ok(headless(&self.watched.connect, self.screen.keys()?, self.screen.look()))
    }

    async fn once(&self) -> anyhow::Result<()> {
        let mut headless = self.headless()?;
        headless.gather(Duration::from_secs(3)).await;
        let (columns, rows) = crossterm::terminal::size().unwrap_or((120, 40));
        Ok(print(&frame(&headless.model, columns, rows))?)
    }

    async fn plain(&self) -> anyhow::Result<()> {
        Ok(enough(self.headless()?.follow(stdout()).await)?)
    }
}

/// Prints whole lines, as far as somebody reads them.
fn print(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    enough(writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()))
}

/// A reader that closed the pipe has read enough.
fn enough(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

/// Watches these processes without a screen; on a runtime.
fn headless(targets: &[Target], keys: KeyMap, look: Look) -> Headless {
    let clock = Clock::system();
    let mut model = Model::new(targets, keys, clock.now());
    model.ui.look = look;
    let (connections, inputs) = Connections::start(&addresses(targets), clock);
    Headless { model, connections, inputs, clock }
}

async fn check(mut headless: Headless, args: &CheckArgs) -> io::Result<ExitCode> {
    headless.gather(Duration::from_secs(args.patience)).await;
    let model = &headless.model;
    print(&match (args.json, args.prometheus) {
        (true, _) => format!("{:#}", plain::json(model)),
        (_, true) => plain::prometheus(model),
        _ => plain::report(model),
    })?;
    Ok(ExitCode::from(Verdict::of(model).code()))
}

/// The screen of services that run in this process, until somebody ends it, and them with it, or `until` comes. It brings its own
/// runtime: call it from a thread that has none.
///
/// # Errors
/// When there is no terminal, or it is gone.
pub fn show(targets: &[Target], keys: KeyMap, look: Look, until: impl Future<Output = ()>) -> anyhow::Result<()> {
    watch(targets, keys, look, mouse_of_environment(), true, until)
}

/// Whether the mouse is taken unless the command line says otherwise: not where `LOADLINE_CONSOLE_NO_MOUSE` is set.
fn mouse_of_environment() -> bool {
    std::env::var("LOADLINE_CONSOLE_NO_MOUSE").unwrap_or_default().is_empty()
}

fn watch(
    targets: &[Target],
    keys: KeyMap,
    look: Look,
    mouse: bool,
    hosting: bool,
    until: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let clock = Clock::system();
    runtime()?.block_on(async {
        let (connections, inputs) = Connections::start(&addresses(targets), clock);
        let model = Model { hosting, ..Model::new(targets, keys, clock.now()) };
        let parts = Parts { model, look, mouse, connections: Some(connections), inputs, clock };
        screen(parts, until).await
    })
}

/// A recording on the same screen.
fn show_recording(path: &Path, keys: KeyMap, look: Look, mouse: bool) -> anyhow::Result<()> {
    let clock = Clock::system();
    runtime()?.block_on(async {
        let (_, silent) = mpsc::channel(1);
        let parts = Parts { model: recorded(path, keys)?, look, mouse, connections: None, inputs: silent, clock };
        screen(parts, pending()).await
    })
}

/// One thread: the console has little to do, and is to cost little.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn addresses(targets: &[Target]) -> Vec<String> {
    targets.iter().map(|target| target.address.clone()).collect()
}

/// What a screen shows, and how.
struct Parts {
    model: Model,
    look: Look,
    mouse: bool,
    connections: Option<Connections>,
    inputs: Receiver<Stamped>,
    clock: Clock,
}

async fn screen(parts: Parts, until: impl Future<Output = ()>) -> anyhow::Result<()> {
    let Parts { mut model, look, mouse, connections, mut inputs, clock } = parts;
    model.ui.look = look;
    let taken = Taken::take(mouse).context("this is no terminal; try --once, --plain or check")?;
    let mut terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
    let keys = events()?.take_until(until);
    let result = run(&mut model, &mut terminal, &mut inputs, keys, &mut Host { connections }, clock).await;
    drop(taken);
    Ok(result?)
}

/// A model that shows the end of a recording.
fn recorded(path: &Path, keys: KeyMap) -> anyhow::Result<Model> {
    let file = File::open(path).with_context(|| format!("recording {}", path.display()))?;
    let recorder = Recorder::read(BufReader::new(file)).with_context(|| format!("recording {}", path.display()))?;
    let mut model = Model::new(recorder.targets(), keys, recorder.begun());
    let at = recorder.last();
    let (world, applied) = recorder.world_at(at);
    model.replay = Some(Box::new(Replay { world, at, playing: false, applied }));
    (model.recorder, model.offline) = (recorder, true);
    Ok(model)
}
