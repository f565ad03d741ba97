//! Routes in the contract's words.

use crate::{
    Serving,
    routes::{Route, shadow::Tally, sticky::PARTS},
    tensors::Invalid,
};
use loadline_proto::serving::{GetRouteResponse, GetShadowReportResponse, Route as Told};

/// Hundredths of a percent.
const PER_PERCENT: f64 = PARTS as f64 / 100.0;

/// A route as it is asked for.
///
/// # Errors
/// When its weight is none.
pub fn asked(route: Option<Told>) -> Result<Route, Invalid> {
    let Told { shadow, canary, percent } = route.unwrap_or_default();
    let parts = (percent * PER_PERCENT).round();
    if !(0.0..=f64::from(PARTS)).contains(&parts) || (percent > 0.0 && parts == 0.0) {
        return Err(Invalid::new("route.percent", format!("is {percent}; give 0.01 to 100")));
    }
    Ok(Route { shadow, canary, parts: parts as u32 })
}

fn told(route: Route) -> Told {
    let Route { shadow, canary, parts } = route;
    Told { shadow, canary, percent: f64::from(parts) / PER_PERCENT }
}

impl Serving {
    pub(super) fn told_route(&self, model: &str, alias: &str) -> GetRouteResponse {
        let found = self.route_of(model, alias);
        let (version, route) = found.map_or((0, None), |(version, route)| (version, Some(told(route))));
        GetRouteResponse { route, version }
    }

    pub(super) fn told_shadow(&self, model: &str, alias: &str) -> GetShadowReportResponse {
        let Some((version, shadow, tally)) = self.shadow_report(model, alias) else { return GetShadowReportResponse::default() };
        let Tally { requests, shed, failed, last_failure, rows, agreed, mean_distance, max_distance, .. } = tally;
        GetShadowReportResponse {
            version,
            shadow,
            requests,
            shed,
            failed,
            last_failure,
            rows,
            agreed,
            mean_distance,
            max_distance,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_has_two_digits_and_none_is_lost() {
        let of = |percent| asked(Some(Told { canary: 2, percent, ..Told::default() }));
        for (percent, parts) in [(0.01, 1), (0.1, 10), (10.0, 1_000), (33.33, 3_333), (100.0, 10_000)] {
            let route = of(percent).unwrap();
            assert_eq!((route.parts, told(route).percent), (parts, percent));
        }
        for percent in [-1.0, 0.004, 100.01, f64::NAN, f64::INFINITY] {
            assert!(of(percent).is_err(), "{percent}");
        }
        assert_eq!(asked(None).unwrap(), Route::default());
    }
}
