//! What is selected, as JSON or as the command that asks for it.

use crate::model::{
    JobLine, Model, RegisteredLine,
    board::{Row, RowId},
    registry::{Change, Registered, Version},
    report::Report,
    ui::Screen,
    world::World,
};
use serde_json::{Value, json};

/// What is selected, as JSON; `None` where nothing is.
pub fn json(model: &Model) -> Option<String> {
    let value = match model.ui.screen {
        Screen::Board => row_json(model.shown(), model.selected_row()?),
        Screen::Usage => {
            let account = model.selected_account()?;
            let amounts: Value = account.amounts.iter().map(|(currency, micros)| (currency.clone(), json!(micros))).collect();
            json!({"account": account.account, "messages": account.messages, "segments": account.segments, "amount_micros": amounts})
        }
        Screen::Jobs => match model.selected_job()? {
            JobLine::Job(job) => json!({
                "job": job.name, "schedule": job.schedule, "description": job.description,
                "next_at": job.next_at.map(|at| at.to_string()), "state": job.run().map(|run| run.state.name()),
                "run": job.run().map(|run| &run.id),
            }),
            JobLine::Run(run) => json!({
                "run": run.id, "job": run.job, "state": run.state.name(), "requested_by": run.by, "attempt": run.attempt,
                "done": run.done, "total": run.total, "note": run.note, "parameters": run.parameters, "result": run.result,
            }),
        },
        Screen::Drills => drill_json(model)?,
        Screen::Models => registered_json(model)?,
        Screen::Letters => {
            let letter = model.selected_letter()?;
            json!({
                "id": letter.id, "stream": letter.stream, "sequence": letter.sequence, "reason": letter.reason,
                "account": letter.account, "detail": letter.detail, "event_time": letter.event_time.map(|at| at.to_string()),
                "recorded_at": letter.recorded_at.map(|at| at.to_string()),
            })
        }
    };
    serde_json::to_string_pretty(&value).ok()
}

/// The grpcurl command that asks for what is selected.
pub fn command(model: &Model) -> Option<String> {
    let (service, method, body) = match model.ui.screen {
        Screen::Board => {
            let index = model.selected_row().and_then(|row| row.source).unwrap_or(0);
            let address = &model.shown().endpoints.get(index)?.address;
            return Some(format!("grpcurl -plaintext {} loadline.health.v1.FailureModeService/Watch", quoted(address)));
        }
        Screen::Usage => ("query", "loadline.query.v1.UsageService/GetUsage", {
            let now = model.now.wall;
            let from = now.checked_sub(jiff::SignedDuration::from_hours(24)).ok()?;
            json!({"account": model.selected_account()?.account, "from": from.to_string(), "to": now.to_string()})
        }),
        Screen::Jobs => match model.selected_job()? {
            JobLine::Job(job) => ("rollup", "loadline.rollup.v1.JobService/ListRuns", json!({"job": job.name})),
            JobLine::Run(run) => ("rollup", "loadline.rollup.v1.JobService/Get", json!({"id": run.id})),
        },
        Screen::Drills => {
            let address = &model.shown().endpoints.get(model.selected_drill()?.endpoint)?.address;
            return Some(format!("grpcurl -plaintext {} loadline.health.v1.DrillService/List", quoted(address)));
        }
        Screen::Models => match model.selected_registered()? {
            RegisteredLine::Alias(of, alias) => {
                ("serving", "loadline.serving.v1.ModelService/ListAliasHistory", json!({"model": of.name, "alias": alias.name}))
            }
            RegisteredLine::Empty(_) | RegisteredLine::Version(..) => {
                ("serving", "loadline.serving.v1.ModelService/List", json!({}))
            }
        },
        Screen::Letters => ("ingest", "loadline.ingest.v1.DeadLetterService/Get", json!({"id": model.selected_letter()?.id})),
    };
    let address = &model.shown().endpoints.iter().find(|endpoint| endpoint.service == service)?.address;
    Some(format!("grpcurl -plaintext -d {} {} {method}", quoted(&body.to_string()), quoted(address)))
}

fn drill_json(model: &Model) -> Option<Value> {
    let line = model.selected_drill()?;
    let world = model.shown();
    let book = &world.endpoints[line.endpoint].drills;
    let drill = book.drill(line.mode);
    let run = world.proof_at(line.endpoint, line.mode).run();
    let seconds = |time: Option<std::time::Duration>| time.map(|time| time.as_secs_f64());
    Some(json!({
        "id": line.mode, "service": world.endpoints[line.endpoint].service,
        "fault": drill.map(|drill| drill.fault.clone()), "remedy": drill.map(|drill| drill.remedy.clone()),
        "unavailable": drill.and_then(|drill| drill.unavailable.clone()),
        "run": run.map(|run| json!({
            "id": run.id, "control": run.control, "phase": run.phase, "found": run.found(), "detail": run.detail,
            "build": run.build, "started_by": run.by, "lost": run.lost, "duplicated": run.duplicated,
            "seconds": {
                "seen": seconds(run.times[0]), "held": seconds(run.times[1]), "fixed": seconds(run.times[2]),
                "verified": seconds(run.times[3]),
            },
        })),
    }))
}

fn registered_json(model: &Model) -> Option<Value> {
    let registry = &model.shown().registry;
    Some(match model.selected_registered()? {
        RegisteredLine::Empty(of) => json!({"model": of.name, "versions": [], "aliases": []}),
        RegisteredLine::Version(of, version) => version_json(of, version),
        RegisteredLine::Alias(of, alias) => {
            let facts = registry.facts(&of.name, &alias.name);
            let route = facts.and_then(|facts| facts.route);
            json!({
                "model": of.name, "alias": alias.name, "version": alias.version, "drifted": alias.drifted,
                "names": of.version(alias.version).map(|version| version_json(of, version)),
                "route": route.map(|route| json!({"shadow": route.shadow, "canary": route.canary, "percent": route.percent})),
                "history": facts.map(|facts| facts.history.iter().map(change_json).collect::<Vec<_>>()),
            })
        }
    })
}

fn version_json(of: &Registered, version: &Version) -> Value {
    let properties: Value = version.properties.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "model": of.name, "version": version.number, "sha256": version.sha256, "bytes": version.bytes,
        "registered_at": version.registered.map(|at| at.to_string()), "properties": properties, "loaded": version.loaded,
        "problem": version.problem,
    })
}

fn change_json(change: &Change) -> Value {
    json!({
        "number": change.number, "kind": change.kind.name(), "from": change.from, "to": change.to, "actor": change.actor,
        "reason": change.reason, "at": change.at.map(|at| at.to_string()),
        "gate": change.gate.as_ref().map(|gate| json!({
            "verdict": gate.verdict, "needs": gate.needs, "reasons": gate.reasons, "matches": gate.matches, "groups": gate.groups,
            "rps": gate.rps, "log_loss": gate.log_loss,
        })),
    })
}

/// For a POSIX shell: what came from a server must not become a command.
fn quoted(text: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "._:-/".contains(char);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// A row of the board, as `y` copies it and `check --json` prints it.
pub fn row_json(world: &World, row: &Row) -> Value {
    let source = row.source.map(|index| &world.endpoints[index]);
    let band = match row.band {
        crate::model::standing::Band::Of(severity) => json!(severity.to_string()),
        _ => Value::Null,
    };
    let common = json!({
        "severity": band,
        "status": crate::text::status(&row.status),
        "counts": row.counts(),
        "seconds": row.lasts.map(|lasts| lasts.as_secs()),
        "service": source.map(|endpoint| endpoint.service.clone()),
        "address": source.map(|endpoint| endpoint.address.clone()),
    });
    let own = match &row.id {
        RowId::Endpoint(_) => json!({"id": Value::Null, "title": "service cannot be seen"}),
        RowId::Mode(id) => {
            let report = source.and_then(|endpoint| endpoint.modes.get(id));
            json!({
                "id": id,
                "title": world.mode(id).map(|mode| mode.title.clone()),
                "found": row.found,
                "rule": report.map(|report| report.rule.clone()),
                "evidence": report.and_then(evidence_json),
                "seconds_to_loss": row.loss.map(|loss| loss.as_secs()),
                "acknowledged_by": report.map(|report| &report.taken_by).filter(|name| !name.is_empty()),
                "muted_seconds": report.and_then(|report| report.muted_for(world.now)).map(|left| left.as_secs()),
                "note": report.map(|report| &report.note).filter(|note| !note.is_empty()),
            })
        }
    };
    let (Value::Object(mut all), Value::Object(common)) = (own, common) else { return Value::Null };
    all.extend(common);
    Value::Object(all)
}

fn evidence_json(report: &Report) -> Option<Value> {
    let evidence = report.evidence.as_ref()?;
    // Not a number has no JSON: null.
    Some(json!({"value": evidence.value, "threshold": evidence.threshold, "unit": evidence.unit, "detail": evidence.detail}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_a_server_does_not_become_a_command() {
        assert_eq!(quoted("127.0.0.1:7401"), "127.0.0.1:7401");
        assert_eq!(quoted("a'; rm -rf $(x) #"), r"'a'\''; rm -rf $(x) #'");
        assert_eq!(quoted(""), "''");
    }
}
