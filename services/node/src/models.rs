//! `loadline models`: what is registered, which version answers, and changing that.

mod register;
mod route;
mod text;
mod trial;
mod verdict;

use crate::{
    connect::{Peer, ServingAddress},
    json,
    output::{BAD_NEWS, Column, Output, clean},
    when::second,
};
use anyhow::{Context as _, bail};
use loadline_proto::serving::{
    AliasChange, GateEvaluation, ListAliasHistoryRequest, ListAliasHistoryResponse, ListModelsRequest, ListModelsResponse, Model,
    PromoteRequest, RollbackRequest, Route, gate_evaluation::Verdict, model_service_client::ModelServiceClient,
};
use route::{Of, Wanted};
use std::{path::PathBuf, process::ExitCode};
use tonic::transport::Channel;
use trial::Versions;

/// Most changes of one page.
const PAGE: u32 = 1_000;

/// Show registered models, register new versions, and say which version answers
///
/// A version that is registered answers nobody until it is promoted. Exit codes: 0 done, 1 the gate does not say PROMOTE, 2 not done.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    address: ServingAddress,
}

/// Without one: every model.
#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Check an ONNX file, and register it as the next version of a model
    Register {
        /// The file
        file: PathBuf,
        /// Name of the model [default: the file's name]
        #[arg(long)]
        model: Option<String>,
        /// Something to keep with the version; may be repeated
        #[arg(long = "property", value_name = "KEY=VALUE", value_parser = register::property)]
        properties: Vec<(String, String)>,
    },
    /// Let an alias name a version: what asks for the alias is answered by it
    Promote {
        /// Name of the model
        model: String,
        /// Number of the version
        #[arg(value_name = "VERSION")]
        number: u64,
        #[command(flatten)]
        change: Why,
        /// Only if the gate says PROMOTE on the rows of this CSV file, with what happened; - for standard input
        #[arg(long, value_name = "FILE")]
        gate: Option<PathBuf>,
        #[command(flatten)]
        rows: trial::Rows,
        #[command(flatten)]
        judged: trial::Judged,
        /// Why it is promoted whatever the gate says; kept in the history
        #[arg(long, value_name = "REASON", default_value = "")]
        override_reason: String,
    },
    /// Ask the champion and a challenger for the same rows, and say whether the challenger may take its place
    Gate {
        /// Name of the model
        model: String,
        /// Number of the challenger's version
        #[arg(value_name = "VERSION")]
        number: u64,
        /// Rows with what happened, CSV; - for standard input
        #[arg(long, value_name = "FILE")]
        csv: PathBuf,
        #[command(flatten)]
        rows: trial::Rows,
        #[command(flatten)]
        judged: trial::Judged,
        /// Whose version is the champion
        #[arg(long, default_value = CHAMPION)]
        alias: String,
    },
    /// Show how the answers of a version differ from those that are given now, without what happened
    Diff {
        /// Name of the model
        model: String,
        /// Number of the other version
        #[arg(value_name = "VERSION")]
        number: u64,
        /// Rows, CSV; - for standard input
        #[arg(long, value_name = "FILE")]
        csv: PathBuf,
        #[command(flatten)]
        rows: trial::Rows,
        /// What gives the answers of now
        #[arg(long, default_value = CHAMPION)]
        alias: String,
    },
    /// Show which versions answer beside an alias, or let a canary answer a part of its requests
    Route {
        /// Name of the model
        model: String,
        /// Version of the canary
        #[arg(long, value_name = "VERSION", requires_all = ["percent", "reason"], conflicts_with = "off")]
        canary: Option<u64>,
        /// How much of the requests it answers, up to 100, to two digits
        #[arg(long, requires = "canary")]
        percent: Option<f64>,
        #[command(flatten)]
        change: Trying,
    },
    /// Show how the answers of a shadow differ, or let a version be asked in the shadow of an alias
    Shadow {
        /// Name of the model
        model: String,
        /// Version of the shadow
        #[arg(value_name = "VERSION", requires = "reason", conflicts_with = "off")]
        number: Option<u64>,
        #[command(flatten)]
        change: Trying,
    },
    /// Let an alias name again what it named before the promotion in force
    Rollback {
        /// Name of the model
        model: String,
        #[command(flatten)]
        change: Why,
    },
    /// Show what an alias named, since when and why, the newest first
    History {
        /// Name of the model
        model: String,
        /// The alias
        #[arg(long, default_value = CHAMPION)]
        alias: String,
        /// At most so many
        #[arg(long, default_value_t = 20, value_parser = crate::streams::at_least_one)]
        limit: usize,
    },
}

const CHAMPION: &str = "champion";

#[derive(Debug, Clone, clap::Args)]
struct Why {
    /// Why; kept in the history
    #[arg(long)]
    reason: String,
    /// The alias
    #[arg(long, default_value = CHAMPION)]
    alias: String,
    /// What the alias names now, 0 for nothing: if it names another, nothing is changed [default: what it names when the command starts]
    #[arg(long, value_name = "VERSION")]
    expect: Option<u64>,
}

/// A route that begins or ends.
#[derive(Debug, Clone, clap::Args)]
struct Trying {
    /// End it
    #[arg(long, requires = "reason")]
    off: bool,
    /// Why; kept in the history
    #[arg(long, default_value = "")]
    reason: String,
    /// The alias
    #[arg(long, default_value = CHAMPION)]
    alias: String,
    /// What the alias names now: if it names another, nothing is changed [default: what it names when the command starts]
    #[arg(long, value_name = "VERSION")]
    expect: Option<u64>,
}

type Client = ModelServiceClient<Channel>;

/// Runs the command.
///
/// # Errors
/// When serving does not answer, or refuses.
pub async fn run(args: ModelsArgs) -> anyhow::Result<ExitCode> {
    let output = Output::stdout(args.json);
    let peer = args.address.connect()?;
    let mut client = Client::new(peer.channel.clone());
    match args.command {
        None => show_all(&output, &listed(&peer, &mut client).await?)?,
        Some(Command::Register { file, model, properties }) => {
            let version = register::file(&peer, client, &file, model, properties).await?;
            output.print(&if output.json {
                format!("{:#}", json::of("loadline.serving.v1.Version", &version)?)
            } else {
                text::registered(&version)
            })?;
        }
        Some(Command::Promote { model, number: version, change, gate, rows, judged, override_reason }) => {
            let gated = gate.map(|file| Gated { file, rows, judged });
            return promote(&output, &peer, client, (model, version), (change, override_reason), gated).await;
        }
        Some(Command::Gate { model, number: version, csv, rows, judged, alias }) => {
            let found = trial::of(&peer, Versions { model, alias, version }, &csv, &rows, Some(&judged)).await?;
            show_verdict(&output, &found)?;
            return Ok(verdict_code(&found));
        }
        Some(Command::Diff { model, number: version, csv, rows, alias }) => {
            let found = trial::of(&peer, Versions { model, alias, version }, &csv, &rows, None).await?;
            if output.json {
                output.json(&json::of("loadline.serving.v1.GateEvaluation", &found)?)?;
            } else {
                output.print(&verdict::differences(&output, &found))?;
            }
        }
        Some(Command::Route { model, canary, percent, change }) => {
            let change_to = match (canary, change.off) {
                (Some(canary), _) => Some((canary, percent.unwrap_or_default())),
                (None, true) => Some((0, 0.0)),
                (None, false) => None,
            };
            let of = Of { model, alias: change.alias.clone() };
            if let Some((canary, percent)) = change_to {
                let wanted = trying(&peer, &mut client, &of, change).await?;
                route::change(&peer, &mut client, &of, wanted, |route| Route { canary, percent, ..route }).await?;
            }
            route::show(&output, &of, &route::now(&peer, &mut client, &of).await?)?;
        }
        Some(Command::Shadow { model, number, change }) => {
            let of = Of { model, alias: change.alias.clone() };
            if let Some(shadow) = number.or(change.off.then_some(0)) {
                let wanted = trying(&peer, &mut client, &of, change).await?;
                route::change(&peer, &mut client, &of, wanted, |route| Route { shadow, ..route }).await?;
                route::show(&output, &of, &route::now(&peer, &mut client, &of).await?)?;
            } else {
                route::report(&output, &peer, &mut client, &of).await?;
            }
        }
        Some(Command::Rollback { model, change: Why { reason, alias, expect } }) => {
            let expected_version = expected(&peer, &mut client, &model, &alias, expect).await?;
            let request = RollbackRequest { model, alias, expected_version, reason };
            let answer = peer.call(client.rollback(peer.request(request))).await?;
            show_change(&output, answer.change)?;
        }
        Some(Command::History { model, alias, limit }) => {
            let changes = history(&peer, &mut client, &model, &alias, limit).await?;
            if output.json {
                output.json(&json::of("loadline.serving.v1.ListAliasHistoryResponse", &changes)?)?;
            } else {
                let columns = [Column::Right("CHANGE"), Column::Left("AT"), Column::Left("WHAT"), Column::Left("BY")];
                let columns = [&columns[..], &[Column::Left("REASON")]].concat();
                output.print(&output.listing(
                    &columns,
                    changes.changes.iter().map(text::change_cells),
                    &changes.next_page_token,
                ))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A promotion that the gate has to agree with.
struct Gated {
    file: PathBuf,
    rows: trial::Rows,
    judged: trial::Judged,
}

/// Promotes; where the gate is asked first, only what it says PROMOTE of, or for a reason.
async fn promote(
    output: &Output,
    peer: &Peer,
    mut client: Client,
    (model, version): (String, u64),
    (Why { reason, alias, expect }, override_reason): (Why, String),
    gated: Option<Gated>,
) -> anyhow::Result<ExitCode> {
    let expected_version = expected(peer, &mut client, &model, &alias, expect).await?;
    let found = match gated {
        None => None,
        Some(Gated { file, rows, judged }) => {
            let versions = Versions { model: model.clone(), alias: alias.clone(), version };
            Some(trial::of(peer, versions, &file, &rows, Some(&judged)).await?)
        }
    };
    let refused = found.as_ref().filter(|found| found.verdict() != Verdict::Promote && override_reason.is_empty());
    if let Some(found) = refused {
        show_verdict(output, found)?;
        if !output.json {
            output.print("not promoted; to promote it nonetheless, give --override-reason")?;
        }
        return Ok(verdict_code(found));
    }
    if let Some(found) = found.as_ref().filter(|_| !output.json) {
        output.print(&verdict::whole(output, found))?;
    }
    let evaluation = found.map(|found| found.id).unwrap_or_default();
    let request = PromoteRequest { model, alias, version, expected_version, reason, evaluation, override_reason };
    let answer = peer.call(client.promote(peer.request(request))).await?;
    // Its evidence has the evaluation, also as JSON.
    show_change(output, answer.change)?;
    Ok(ExitCode::SUCCESS)
}

async fn trying(peer: &Peer, client: &mut Client, of: &Of, change: Trying) -> anyhow::Result<Wanted> {
    let expected_version = expected(peer, client, &of.model, &of.alias, change.expect).await?;
    Ok(Wanted { reason: change.reason, expected_version })
}

fn show_verdict(output: &Output, found: &GateEvaluation) -> anyhow::Result<()> {
    if output.json {
        return Ok(output.json(&json::of("loadline.serving.v1.GateEvaluation", found)?)?);
    }
    Ok(output.print(&verdict::whole(output, found))?)
}

/// HOLD and REJECT are bad news.
fn verdict_code(found: &GateEvaluation) -> ExitCode {
    if found.verdict() == Verdict::Promote { ExitCode::SUCCESS } else { ExitCode::from(BAD_NEWS) }
}

async fn listed(peer: &Peer, client: &mut Client) -> anyhow::Result<ListModelsResponse> {
    peer.call(client.list(peer.request(ListModelsRequest {}))).await
}

/// What an alias names now, unless the caller has said what it has to be.
async fn expected(peer: &Peer, client: &mut Client, model: &str, alias: &str, said: Option<u64>) -> anyhow::Result<u64> {
    if let Some(said) = said {
        return Ok(said);
    }
    let listed = listed(peer, client).await?;
    if !listed.registry_problem.is_empty() {
        bail!("the registry does not answer: {}", clean(&listed.registry_problem));
    }
    let of = |found: &Model| found.aliases.iter().find(|found| found.name == alias).map_or(0, |alias| alias.version);
    let found = listed.models.iter().find(|found| found.name == model);
    found.map(of).with_context(|| format!("no model is called {:?}; `loadline models` lists them", clean(model)))
}

async fn history(
    peer: &Peer,
    client: &mut Client,
    model: &str,
    alias: &str,
    limit: usize,
) -> anyhow::Result<ListAliasHistoryResponse> {
    let mut all = ListAliasHistoryResponse::default();
    loop {
        let page_size = u32::try_from(limit - all.changes.len()).unwrap_or(PAGE).clamp(1, PAGE);
        let page_token = std::mem::take(&mut all.next_page_token);
        let request = ListAliasHistoryRequest { model: model.to_owned(), alias: alias.to_owned(), page_size, page_token };
        let page = peer.call(client.list_alias_history(peer.request(request))).await?;
        all.changes.extend(page.changes);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() || all.changes.len() >= limit {
            return Ok(all);
        }
    }
}

fn show_all(output: &Output, listed: &ListModelsResponse) -> anyhow::Result<()> {
    if output.json {
        return Ok(output.json(&json::of("loadline.serving.v1.ListModelsResponse", listed)?)?);
    }
    let columns = ["MODEL", "VERSION", "ALIASES", "STATE", "SHA256", "REGISTERED"].map(Column::Left);
    let rows = listed.models.iter().flat_map(|model| model.versions.iter().map(|version| text::cells(output, model, version)));
    let mut printed = output.table(&columns, rows);
    if !listed.registry_problem.is_empty() {
        let since = second(listed.registry_answered_at.as_ref());
        printed.push_str(&text::silent(output, &listed.registry_problem, &since));
    } else if listed.models.is_empty() {
        printed = "no model is registered; `loadline models register FILE.onnx` registers one\n".to_owned();
    }
    Ok(output.print(&printed)?)
}

fn show_change(output: &Output, change: Option<AliasChange>) -> anyhow::Result<()> {
    let change = change.context("serving answered without a change")?;
    if output.json {
        return Ok(output.json(&json::of("loadline.serving.v1.AliasChange", &change)?)?);
    }
    Ok(output.print(&text::changed(&change))?)
}
