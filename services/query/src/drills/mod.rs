//! The drills of query, one a file.

mod isolation;
mod slow;

use crate::Query;
use loadline_fault::Faults;
use loadline_health::{Drill, Monitor};
use loadline_ledger::drills::ACCOUNT;
use loadline_proto::query::{GetUsageRequest, GetUsageResponse, usage_service_server::UsageService as _};
use loadline_runtime::identity::{Identity, Role};
use loadline_store::Store;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Gives the monitor its drills, and those of the process. `store` is the one without faults: what drills write down with is not
/// what they break.
pub fn install(monitor: &Monitor, query: &Query, store: Arc<dyn Store>, faults: &Faults, of_process: Vec<Arc<dyn Drill>>) {
    let own: Vec<Arc<dyn Drill>> = vec![
        Arc::new(slow::SlowAnswers::new(query.clone(), faults.clone())),
        Arc::new(isolation::NotApart::new(query.clone(), faults.clone())),
    ];
    loadline_ledger::drills::install(monitor, store, vec![faults.clone()], [own, of_process].concat());
}

impl Query {
    /// Today's usage of an account, asked for as its owner would.
    async fn asked_by_owner(&self, account: &str) -> Result<Response<GetUsageResponse>, Status> {
        let now = self.now();
        let time = |at| Some(crate::convert::timestamp(at));
        let (from, to) = (time(now.hour().start()), time(now.hour().next().start()));
        let mut request = Request::new(GetUsageRequest { account: account.to_owned(), from, to, ..GetUsageRequest::default() });
        let accounts = vec![account.to_owned()];
        request.extensions_mut().insert(Identity { name: ACCOUNT.to_owned(), role: Role::Service, accounts });
        self.get_usage(request).await
    }
}
