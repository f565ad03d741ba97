//! Which versions get requests beside the champion: a part of them as canary, or all in the shadow.

use super::Client;
use crate::{
    connect::Peer,
    json,
    output::{Output, clean, count},
};
use anyhow::Context as _;
use loadline_proto::serving::{
    GetRouteRequest, GetRouteResponse, GetShadowReportRequest, GetShadowReportResponse, Route, SetRouteRequest,
};

/// Whose route.
pub struct Of {
    pub model: String,
    pub alias: String,
}

/// A route that is wanted.
pub struct Wanted {
    pub reason: String,
    /// What the alias has to name.
    pub expected_version: u64,
}

/// The route in force.
///
/// # Errors
/// When serving does not answer.
pub async fn now(peer: &Peer, client: &mut Client, of: &Of) -> anyhow::Result<GetRouteResponse> {
    let request = GetRouteRequest { model: of.model.clone(), alias: of.alias.clone() };
    peer.call(client.get_route(peer.request(request))).await
}

/// Changes a part of the route in force, and leaves the rest of it.
///
/// # Errors
/// When serving refuses it.
pub async fn change(
    peer: &Peer,
    client: &mut Client,
    of: &Of,
    wanted: Wanted,
    change: impl FnOnce(Route) -> Route,
) -> anyhow::Result<()> {
    let before = now(peer, client, of).await?.route.unwrap_or_default();
    let route = Some(change(before)).filter(|route| *route != Route::default());
    let (model, alias) = (of.model.clone(), of.alias.clone());
    let Wanted { reason, expected_version } = wanted;
    let request = SetRouteRequest { model, alias, route, reason, expected_version };
    let answer = peer.call(client.set_route(peer.request(request))).await?;
    answer.change.map(drop).context("serving answered without a change")
}

/// Prints the route.
///
/// # Errors
/// Those of printing.
pub fn show(output: &Output, of: &Of, found: &GetRouteResponse) -> anyhow::Result<()> {
    if output.json {
        return Ok(output.json(&json::of("loadline.serving.v1.GetRouteResponse", found)?)?);
    }
    Ok(output.print(&text(of, found))?)
}

fn text(of: &Of, found: &GetRouteResponse) -> String {
    let name = format!("{} of {}", clean(&of.alias), clean(&of.model));
    let Some(Route { shadow, canary, percent }) = found.route else {
        return format!("{name}: every request is answered by what it names");
    };
    let left = 100.0 - if canary > 0 { percent } else { 0.0 };
    let mut text = format!("{name}: version {} answers {} %", found.version, weight(left));
    if canary > 0 {
        text.push_str(&format!(", canary {canary} answers {} %", weight(percent)));
    }
    if shadow > 0 {
        text.push_str(&format!(", and {shadow} is asked in the shadow"));
    }
    text
}

/// To two digits, as routes have it, without zeros at their end.
fn weight(percent: f64) -> String {
    let text = format!("{percent:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Prints what came of the shadow.
///
/// # Errors
/// When serving does not answer.
pub async fn report(output: &Output, peer: &Peer, client: &mut Client, of: &Of) -> anyhow::Result<()> {
    let request = GetShadowReportRequest { model: of.model.clone(), alias: of.alias.clone() };
    let found = peer.call(client.get_shadow_report(peer.request(request))).await?;
    if output.json {
        return Ok(output.json(&json::of("loadline.serving.v1.GetShadowReportResponse", &found)?)?);
    }
    Ok(output.print(&reported(of, &found))?)
}

fn reported(of: &Of, found: &GetShadowReportResponse) -> String {
    let name = format!("{} of {}", clean(&of.alias), clean(&of.model));
    if found.shadow == 0 {
        return format!("{name}: nothing is in its shadow");
    }
    let GetShadowReportResponse { version, shadow, requests, shed, failed, rows, agreed, mean_distance, max_distance, .. } =
        found;
    let failure = match found.last_failure.as_str() {
        "" => String::new(),
        why => format!("\n  {}", clean(why)),
    };
    format!(
        "{name}: version {shadow} in the shadow of {version} answered {} requests, {} were left out and {} failed; of {} rows {} \
         have the same class; forecasts differ by {mean_distance:.4} on average, by {max_distance:.4} at most{failure}",
        count(*requests),
        count(*shed),
        count(*failed),
        count(*rows),
        count(*agreed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_told_with_its_weights() {
        let of = Of { model: "wine".to_owned(), alias: "champion".to_owned() };
        let told =
            |shadow, canary, percent| text(&of, &GetRouteResponse { route: Some(Route { shadow, canary, percent }), version: 1 });
        assert_eq!(told(0, 2, 33.33), "champion of wine: version 1 answers 66.67 %, canary 2 answers 33.33 %");
        assert_eq!(
            told(3, 2, 10.0),
            "champion of wine: version 1 answers 90 %, canary 2 answers 10 %, and 3 is asked in the shadow"
        );
        assert_eq!(told(3, 0, 0.0), "champion of wine: version 1 answers 100 %, and 3 is asked in the shadow");
        assert!(text(&of, &GetRouteResponse::default()).contains("every request is answered by what it names"));
    }
}
