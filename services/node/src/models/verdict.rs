//! What the gate says, as words and tables.

use crate::output::{Column, Output, Tone, clean, count, plural};
use loadline_proto::{
    MORE_MATCHES_UNTOLD,
    serving::{GateComparison, GateDifference, GateEvaluation, gate_evaluation::Verdict},
};

/// The verdict in a line, such as `HOLD: 2,140 more matches`.
pub fn line(output: &Output, found: &GateEvaluation) -> String {
    match found.verdict() {
        Verdict::Promote => output.paint(Tone::Good, "PROMOTE"),
        Verdict::Hold if found.more_matches >= MORE_MATCHES_UNTOLD => {
            output.paint(Tone::Warn, "HOLD: more matches, how many cannot be told from so few groups")
        }
        Verdict::Hold => {
            let more = plural(found.more_matches, "more match", "more matches");
            output.paint(Tone::Warn, &format!("HOLD: {more}"))
        }
        Verdict::Reject => output.paint(Tone::Bad, &format!("REJECT: {}", clean(&found.reasons.join("; ")))),
        Verdict::Unspecified => "no verdict".to_owned(),
    }
}

/// The verdict with its figures.
pub fn whole(output: &Output, found: &GateEvaluation) -> String {
    let columns = [
        Column::Left("METRIC"),
        Column::Right("CHAMPION"),
        Column::Right("CHALLENGER"),
        Column::Right("IMPROVEMENT"),
        Column::Right("AT LEAST"),
        Column::Right("AT MOST"),
    ];
    let metrics = [("RPS", &found.rps), ("log-loss", &found.log_loss), ("calibration", &found.calibration)];
    let rows = metrics.into_iter().filter_map(|(name, comparison)| Some(cells(name, comparison.as_ref()?)));
    let mut text = line(output, found) + "\n" + &output.table(&columns, rows);
    let GateEvaluation { id, champion_version, challenger_version, matches, groups, .. } = *found;
    text.push_str(&format!(
        "evaluation {id}: version {challenger_version} in place of {champion_version}, on {} of {}\n",
        plural(matches, "match", "matches"),
        plural(groups, "group", "groups")
    ));
    if found.verdict() == Verdict::Hold {
        found.reasons.iter().for_each(|reason| text.push_str(&format!("  {}\n", clean(reason))));
    }
    if found.champion_does_harm {
        text.push_str(&output.paint(Tone::Bad, "the champion is worse than how often each class happens"));
        text.push('\n');
    }
    text
}

/// How answers differ, and which most. Rows are those of the file, from 1 after its header.
pub fn differences(output: &Output, found: &GateEvaluation) -> String {
    let Some(differences) = &found.differences else { return "no rows were compared\n".to_owned() };
    let columns = [Column::Right("ROW"), Column::Left("GROUP"), Column::Right("DISTANCE")];
    let columns = [&columns[..], &[Column::Left("CHAMPION"), Column::Left("CHALLENGER")]].concat();
    let summary = format!(
        "version {} in place of {}: {} of {} another class; answers differ by {:.4} on average, by {:.4} at most\n",
        found.challenger_version,
        found.champion_version,
        plural(differences.changed_class, "row gets", "rows get"),
        count(differences.rows),
        differences.mean_distance,
        differences.max_distance
    );
    if differences.most.is_empty() {
        return summary;
    }
    summary + &output.table(&columns, differences.most.iter().map(difference))
}

fn difference(difference: &GateDifference) -> Vec<String> {
    let GateDifference { row, group, distance, champion, challenger } = difference;
    vec![count(row + 1), clean(group), format!("{distance:.4}"), forecast(champion), forecast(challenger)]
}

fn forecast(parts: &[f64]) -> String {
    parts.iter().map(|part| format!("{part:.3}")).collect::<Vec<_>>().join(" ")
}

fn cells(name: &str, comparison: &GateComparison) -> Vec<String> {
    let GateComparison { champion, challenger, improvement, low, high, .. } = *comparison;
    // One group says nothing about how sure a mean is: its bounds are wider than any score.
    let bound = |bound: f64| if bound.abs() > 1e3 { "unknown".to_owned() } else { format!("{bound:+.5}") };
    let figures = [format!("{champion:.5}"), format!("{challenger:.5}"), format!("{improvement:+.5}")];
    [vec![name.to_owned()], figures.to_vec(), vec![bound(low), bound(high)]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::PLAIN;
    use loadline_proto::serving::GateDifferences;

    fn found(verdict: Verdict, more_matches: u64) -> GateEvaluation {
        let (champion, challenger) = (0.2, 0.199);
        let rps = GateComparison { champion, challenger, improvement: 0.001, standard_error: 0.001, low: -0.0006, high: 0.0026 };
        let reasons = vec!["the improvement may be chance".to_owned()];
        let (champion_version, challenger_version, matches, groups) = (1, 2, 380, 38);
        let rps = Some(rps);
        GateEvaluation {
            id: 7,
            verdict: verdict.into(),
            more_matches,
            reasons,
            champion_version,
            challenger_version,
            matches,
            groups,
            rps,
            ..GateEvaluation::default()
        }
    }

    #[test]
    fn a_verdict_is_a_line_and_its_figures_a_table() {
        assert_eq!(line(&PLAIN, &found(Verdict::Hold, 2_140)), "HOLD: 2,140 more matches");
        assert_eq!(line(&PLAIN, &found(Verdict::Hold, 1)), "HOLD: 1 more match");
        assert!(line(&PLAIN, &found(Verdict::Hold, MORE_MATCHES_UNTOLD)).contains("cannot be told"));
        assert_eq!(line(&PLAIN, &found(Verdict::Promote, 0)), "PROMOTE");
        assert_eq!(line(&PLAIN, &found(Verdict::Reject, 0)), "REJECT: the improvement may be chance");
        assert_eq!(
            whole(&PLAIN, &found(Verdict::Hold, 2_140)),
            "HOLD: 2,140 more matches\n\
             METRIC  CHAMPION  CHALLENGER  IMPROVEMENT  AT LEAST   AT MOST\n\
             RPS      0.20000     0.19900     +0.00100  -0.00060  +0.00260\n\
             evaluation 7: version 2 in place of 1, on 380 matches of 38 groups\n  the improvement may be chance\n"
        );
    }

    #[test]
    fn differences_name_the_row_of_the_file() {
        let most = GateDifference {
            row: 3,
            group: "day 1".to_owned(),
            distance: 0.25,
            champion: vec![0.5, 0.5],
            challenger: vec![0.25, 0.75],
        };
        let differences =
            GateDifferences { rows: 1_200, changed_class: 1, mean_distance: 0.01, max_distance: 0.25, most: vec![most] };
        let found = GateEvaluation { differences: Some(differences), ..found(Verdict::Unspecified, 0) };
        let text = super::differences(&PLAIN, &found);
        assert!(text.contains("1 row gets of 1,200 another class"), "{text}");
        assert!(text.lines().last().is_some_and(|line| line.trim_start().starts_with("4  day 1")), "{text}");
    }
}
