//! `loadline up`: all services in this process, each on its own port, with simulated traffic through the public API, and the
//! console on top of them.

use crate::{
    cli::Configuration,
    config, connect, example_league, simulate,
    status::{self, Board},
};
use anyhow::Context as _;
use loadline_console::{
    action::KeyMap,
    model::world::Target,
    view::theme::{Look, Theme},
};
use loadline_ingest::serve::open_log;
use loadline_platform::{Kept, Platform};
use loadline_runtime::{
    Shutdown,
    admin::{self, Readiness},
    lifecycle::{Restarts, lives},
    run::bind,
};
use loadline_settings::Settings;
use std::{io::IsTerminal as _, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};
use tokio::net::TcpListener;

/// How many services there are; the addresses begin with theirs.
const SERVICES: usize = 4;

#[derive(Debug, Default, clap::Args)]
pub struct UpArgs {
    /// Never the console, only the status: for services and logs
    #[arg(long)]
    pub headless: bool,
    /// Simulated events a second; 0 for none
    #[arg(long, value_name = "EVENTS")]
    rate: Option<u32>,
}

/// Runs the product until Ctrl-C or SIGTERM. Returns the process's exit code.
pub fn run(args: &UpArgs, configuration: &Configuration) -> ExitCode {
    let loaded = match config::read(configuration) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("error: {problems}");
            return ExitCode::from(crate::output::NOT_DONE);
        }
    };
    let (settings, set) = chosen(loaded, args, configuration.set.clone());
    let kept = Kept::new(settings.clone(), configuration.file.clone(), set);
    let with_console = !args.headless && status::on_a_terminal() && std::io::stdin().is_terminal();
    let (telemetry, grace) = (quiet_for_a_screen(&settings, with_console), *settings.grpc.grace);
    loadline_runtime::run("loadline", crate::build(), &telemetry, grace, |telemetry, shutdown| {
        up(settings, with_console, Platform::new(kept, telemetry), shutdown)
    })
}

/// What `up` has differently from the services alone, also as flags: whoever reads the configuration again comes to the same.
fn chosen(mut settings: Settings, args: &UpArgs, mut set: Vec<(String, String)>) -> (Settings, Vec<(String, String)>) {
    if settings.drills.enabled.is_none() {
        settings.drills.enabled = Some(true);
        set.push(("drills.enabled".to_owned(), "true".to_owned()));
    }
    if settings.serving.baseline.is_none() {
        settings.serving.baseline = Some(true);
        set.push(("serving.baseline".to_owned(), "true".to_owned()));
    }
    if settings.serving.results.is_none() {
        let folder = example_results(&settings);
        set.push(("serving.results".to_owned(), folder.display().to_string()));
        settings.serving.results = Some(folder);
    }
    match args.rate {
        Some(0) => {
            settings.simulate.enabled = false;
            set.push(("simulate.enabled".to_owned(), "false".to_owned()));
        }
        Some(rate) => {
            settings.simulate.rate = rate;
            set.push(("simulate.rate".to_owned(), rate.to_string()));
        }
        None => {}
    }
    (settings, set)
}

/// Where results are that nobody configured: beside everything else that it keeps.
fn example_results(settings: &Settings) -> PathBuf {
    settings.serving.artifacts.with_file_name("results")
}

/// Log lines would tear a screen: on a terminal only errors are written, beside the console nothing. The status screen leaves
/// the choice to whoever asks for more.
fn quiet_for_a_screen(settings: &Settings, with_console: bool) -> loadline_runtime::telemetry::Settings {
    let mut telemetry = settings.telemetry.clone();
    if with_console {
        telemetry.log = "off".to_owned();
    } else if status::on_a_terminal() && telemetry.log == loadline_runtime::telemetry::Settings::default().log {
        telemetry.log = "error".to_owned();
    }
    telemetry
}

async fn up(settings: Settings, with_console: bool, platform: Platform, shutdown: Shutdown) -> anyhow::Result<()> {
    let ingest = bind(settings.ingest.listen, "ingest.listen").await?;
    let query = bind(settings.query.listen, "query.listen").await?;
    let rollup = bind(settings.rollup.listen, "rollup.listen").await?;
    let serving = bind(settings.serving.listen, "serving.listen").await?;
    let admin = bind(settings.ingest.admin, "ingest.admin").await?;
    let (ingest_ready, query_ready, rollup_ready) =
        (Readiness::new(&["event log"]), Readiness::new(&["store"]), Readiness::new(&["store"]));
    let serving_ready = Readiness::new(&[loadline_serving::serve::MODELS]);
    let addresses = [
        ("ingest", ingest.local_addr()?),
        ("query", query.local_addr()?),
        ("rollup", rollup.local_addr()?),
        ("serving", serving.local_addr()?),
        ("admin", admin.local_addr()?),
    ];
    // Now that no other copy of it runs on these ports.
    let results = example_results(&settings);
    if settings.serving.results.as_ref() == Some(&results)
        && let Err(error) = example_league::provide(&results, jiff::Zoned::now().date())
    {
        tracing::warn!(%error, folder = %results.display(), "there is no example of results, and no prediction of matches");
    }
    let (metrics, ready) = (platform.telemetry().clone(), ingest_ready.clone());
    shutdown.spawn(admin::serve(admin, ready, move || metrics.scraped_text(), shutdown.clone()));

    let Some(log) = open_log(&settings, &ingest_ready, &shutdown).await? else { return Ok(()) };
    let options = settings.store.options_to_answer(settings.rules.rules());
    let store = loadline_store::open(settings.store.url.reveal(), options).await.context("opening store.url")?;
    let options = loadline_history::Options { timeout: *settings.history.timeout, ..Default::default() };
    let history = loadline_history::open(settings.history.url.reveal(), options);
    let history = history.context("opening history.url")?;
    for caveat in [log.caveats().await.unwrap_or_default(), store.caveats(), history.caveats()].concat() {
        tracing::warn!("{caveat}");
    }
    let named = addresses.map(|(service, address)| (service, address.to_string()));
    let platform = platform.beside(named[..SERVICES].iter().map(|(service, address)| (*service, address.as_str())));
    let board = Board::new(&settings, &addresses);
    let traffic = traffic(&settings, addresses[0].1, board.traffic(), &shutdown);
    let ingesting = living(&platform, ingest, &ingest_ready, &shutdown, async |listener, life| {
        loadline_ingest::serve::serve(&platform, log.clone(), store.clone(), listener, &ingest_ready, &life).await
    });
    let querying = living(&platform, query, &query_ready, &shutdown, async |listener, life| {
        let backends = loadline_query::serve::Backends { store: store.clone(), history: history.clone(), log: log.clone() };
        loadline_query::serve::serve(&platform, backends, listener, &query_ready, &life).await
    });
    let rolling = living(&platform, rollup, &rollup_ready, &shutdown, async |listener, life| {
        let backends = loadline_rollup::serve::Backends { store: store.clone(), history: history.clone(), log: log.clone() };
        loadline_rollup::serve::serve(&platform, backends, listener, &rollup_ready, &life).await
    });
    let predicting = living(&platform, serving, &serving_ready, &shutdown, async |listener, life| {
        loadline_serving::serve::serve(&platform, store.clone(), listener, &serving_ready, &life).await
    });
    let showing = async {
        if with_console {
            return ending(console(&addresses[..SERVICES], &shutdown), &shutdown).await;
        }
        board.run(log.clone(), store.clone(), shutdown.clone()).await;
        Ok(())
    };
    let (ingested, queried, rolled, predicted, _, shown) = tokio::join!(
        ending(ingesting, &shutdown),
        ending(querying, &shutdown),
        ending(rolling, &shutdown),
        ending(predicting, &shutdown),
        traffic,
        showing
    );
    ingested.and(queried).and(rolled).and(predicted).and(shown)
}

/// The console on a thread of its own: what it draws does not wait for what it shows. Whoever leaves it ends the product.
async fn console(services: &[(&str, SocketAddr)], shutdown: &Shutdown) -> anyhow::Result<()> {
    let target =
        |(service, address): &(&str, SocketAddr)| Target { address: address.to_string(), service: (*service).to_owned() };
    let (targets, until): (Vec<_>, _) = (services.iter().map(target).collect(), shutdown.cancelled_owned());
    let look = Look::of_environment(Theme::default(), false);
    let shown = tokio::task::spawn_blocking(move || loadline_console::cli::show(&targets, KeyMap::default(), look, until));
    shown.await?
}

/// A service, life after life on the same port, while the others go on.
async fn living(
    platform: &Platform,
    listener: TcpListener,
    readiness: &Readiness,
    shutdown: &Shutdown,
    serve: impl AsyncFn(TcpListener, Shutdown) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (address, mut bound, grace) = (listener.local_addr()?, Some(listener), *platform.settings().grpc.grace);
    lives(shutdown, Restarts::Life, grace, |life| {
        readiness.start_again();
        let (bound, serve) = (bound.take(), &serve);
        platform.live(life.clone(), async move {
            let listener = match bound {
                Some(listener) => listener,
                None => TcpListener::bind(address).await.with_context(|| format!("listening on {address} again"))?,
            };
            serve(listener, life).await
        })
    })
    .await
}

/// One service that ends early ends them all: half a product would look like a whole one.
async fn ending<T>(service: impl Future<Output = anyhow::Result<T>>, shutdown: &Shutdown) -> anyhow::Result<T> {
    let ended = service.await;
    shutdown.begin();
    ended
}

async fn traffic(settings: &Settings, ingest: SocketAddr, stats: Arc<simulate::Stats>, shutdown: &Shutdown) {
    if !settings.simulate.enabled {
        return;
    }
    let shape = simulate::Settings {
        rate: settings.simulate.rate,
        accounts: settings.simulate.accounts,
        seed: settings.simulate.seed,
        ..simulate::Settings::default()
    };
    match connect::channel(&ingest.to_string()) {
        Ok(channel) => simulate::run(shape, channel, shutdown.cancelled_owned(), stats).await,
        Err(error) => tracing::error!(%error, "no traffic"),
    }
}
