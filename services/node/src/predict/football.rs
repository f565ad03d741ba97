//! `loadline predict match` and `loadline predict replay`: football matches, and the same answer again from its receipt.

use crate::{
    connect::Peer,
    json,
    output::{BAD_NEWS, Column, Output, Tone, clean},
};
use anyhow::Context as _;
use loadline_domain::{Clock as _, time::SystemClock};
use loadline_proto::serving::{
    Fixture, PredictMatchRequest, PredictMatchResponse, Probabilities, Receipt, ReplayRequest, ReplayResponse,
    prediction_service_client::PredictionServiceClient,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

const RESPONSE: &str = "loadline.serving.v1.PredictMatchResponse";
const REPLAY: &str = "loadline.serving.v1.ReplayResponse";
const RECEIPT: &str = "loadline.serving.v1.Receipt";

/// Predict a football match from the results before it
#[derive(Debug, Clone, clap::Args)]
pub struct MatchArgs {
    /// League, by the name of its folder of results
    #[arg(long)]
    league: String,
    /// Team whose ground it is
    home: String,
    /// The other team
    away: String,
    /// Day of the match [default: today]
    #[arg(long, value_name = "DATE")]
    date: Option<String>,
    /// Look at results before this day only [default: the day of the match, or today where that is sooner]
    #[arg(long, value_name = "DATE", default_value = "")]
    as_of: String,
    /// Number of a version of `football`, or an alias [default: the champion]
    #[arg(long = "of", value_name = "VERSION", default_value = "")]
    of: String,
    /// Write the receipt to a file, for `predict replay`
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
}

/// Make the answer of a receipt again, and compare
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayArgs {
    /// What `predict match --receipt` wrote
    file: PathBuf,
}

/// Predicts a match.
///
/// # Errors
/// When serving does not answer or refuses; when the receipt cannot be written.
pub async fn predict(output: &Output, peer: &Peer, args: MatchArgs) -> anyhow::Result<ExitCode> {
    let date = args.date.unwrap_or_else(|| SystemClock.now().day().to_string());
    let fixture = Fixture { league: args.league, date, home: args.home, away: args.away };
    let request = PredictMatchRequest { fixture: Some(fixture), as_of: args.as_of, version: args.of };
    let mut client = PredictionServiceClient::new(peer.channel.clone());
    let answer = peer.call(client.predict_match(peer.request(request))).await?;
    let receipt = answer.receipt.as_ref().context("the answer has no receipt")?;
    if let Some(file) = &args.receipt {
        keep(file, receipt)?;
    }
    if output.json {
        output.json(&json::of(RESPONSE, &answer)?)?;
    } else {
        output.print(&told(output, &answer, receipt))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the answer of a receipt again. It is bad news when it is another.
///
/// # Errors
/// When the file is no receipt; when serving does not answer, or says why it cannot make it again.
pub async fn replay(output: &Output, peer: &Peer, args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let shown = clean(&args.file.display().to_string());
    let text = fs::read_to_string(&args.file).with_context(|| format!("reading {shown}"))?;
    let receipt: Receipt = json::read(RECEIPT, &text).with_context(|| format!("{shown} is no receipt"))?;
    let before = receipt.probabilities.unwrap_or_default();
    let mut client = PredictionServiceClient::new(peer.channel.clone());
    let again = peer.call(client.replay(peer.request(ReplayRequest { receipt: Some(receipt) }))).await?;
    if output.json {
        output.json(&json::of(REPLAY, &again)?)?;
    } else {
        output.print(&compared(output, before, &again))?;
    }
    Ok(if again.identical { ExitCode::SUCCESS } else { ExitCode::from(BAD_NEWS) })
}

fn compared(output: &Output, before: Probabilities, again: &ReplayResponse) -> String {
    let after = again.probabilities.unwrap_or_default();
    let rows = classes(before).into_iter().zip(classes(after));
    let rows = rows.map(|((class, before), (_, after))| vec![class.to_owned(), before.to_string(), after.to_string()]);
    let table = output.table(&[Column::Left("OUTCOME"), Column::Right("RECEIPT"), Column::Right("NOW")], rows);
    let verdict = if again.identical {
        output.paint(Tone::Good, "the same, to the last bit")
    } else {
        output.paint(Tone::Bad, &format!("another answer; probabilities differ by {:e} at most", again.largest_difference))
    };
    format!("{table}{verdict}")
}

fn keep(file: &Path, receipt: &Receipt) -> anyhow::Result<()> {
    let text = format!("{:#}\n", json::of(RECEIPT, receipt)?);
    fs::write(file, text).with_context(|| format!("writing {}", clean(&file.display().to_string())))
}

fn told(output: &Output, answer: &PredictMatchResponse, receipt: &Receipt) -> String {
    let rows = classes(answer.probabilities.unwrap_or_default()).map(|(class, probability)| {
        let fair = if probability > 0.0 { format!("{:.2}", 1.0 / probability) } else { "-".to_owned() };
        vec![class.to_owned(), format!("{:.1} %", probability * 100.0), fair]
    });
    let table = output.table(&[Column::Left("OUTCOME"), Column::Right("PROBABILITY"), Column::Right("FAIR ODDS")], rows);
    let sha256: String = clean(&receipt.sha256).chars().take(12).collect();
    let baseline = if answer.baseline { ", the built-in baseline" } else { "" };
    let last =
        if answer.last_result.is_empty() { "none".to_owned() } else { format!("the last of {}", clean(&answer.last_result)) };
    let (model, as_of) = (clean(&receipt.model), clean(&receipt.as_of));
    format!("{table}{model} version {}, artifact {sha256}{baseline}\nfrom results before {as_of}, {last}", receipt.version)
}

fn classes(Probabilities { home, draw, away }: Probabilities) -> [(&'static str, f32); 3] {
    [("home", home), ("draw", draw), ("away", away)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::PLAIN;

    #[test]
    fn an_answer_says_what_gave_it_and_from_when_its_results_are() {
        let probabilities = Some(Probabilities { home: 0.5, draw: 0.25, away: 0.25 });
        let receipt = Receipt {
            model: "football".to_owned(),
            version: 1,
            sha256: "ab".repeat(32),
            as_of: "2026-03-14".to_owned(),
            probabilities,
            ..Receipt::default()
        };
        let answer =
            PredictMatchResponse { probabilities, baseline: true, last_result: "2026-03-07".to_owned(), ..Default::default() };
        let text = told(&PLAIN, &answer, &receipt);
        assert!(text.contains("home          50.0 %       2.00"), "{text}");
        let end = "football version 1, artifact abababababab, the built-in baseline\nfrom results before 2026-03-14, the last of 2026-03-07";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn a_receipt_reads_back_to_the_last_bit() {
        let probabilities = Some(Probabilities { home: 0.1, draw: f32::MIN_POSITIVE, away: 1.0 / 3.0 });
        let receipt = Receipt { features: vec![0.1, -1_500.37, 1.0e-7], probabilities, version: 7, ..Receipt::default() };
        let text = json::of(RECEIPT, &receipt).unwrap().to_string();
        assert_eq!(json::read::<Receipt>(RECEIPT, &text).unwrap(), receipt);
        assert!(json::read::<Receipt>(RECEIPT, "{\"unheard_of\": 1}").is_err());
    }
}
