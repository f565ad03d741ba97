//! S: a service starts again, once the requests under way are finished: this one, or a peer that is down but can still be asked.

use crate::{
    CRASH,
    peers::{Peer, Peers, Standing, Who, identify, reach},
};
use async_trait::async_trait;
use loadline_health::{
    Remedy, World,
    remedy::{Effect, Planned, RemedyError, Reversibility, Running, Successor},
};
use loadline_proto::health::{
    ExecuteRemedyRequest, PlanRemedyRequest, RemedyRun, failure_mode_service_client::FailureModeServiceClient,
};
use loadline_runtime::{Shutdown, admin::Readiness};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;

const KEY: &str = "S";
/// How long a peer's desk may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(250);
/// Draining takes a grace, starting less.
const EXPECTED: Duration = Duration::from_secs(15);

/// The remedy, at the desk of one service.
pub(crate) struct Restart {
    pub peers: Peers,
    pub readiness: Readiness,
    pub shutdown: Shutdown,
}

/// What is to start again.
enum Target {
    Own,
    Peer(Peer),
}

impl Restart {
    fn own(&self) -> String {
        named(self.peers.own())
    }

    /// Of its own choice it takes this service when that does not serve, else a peer that is down, else this service.
    fn target(&self, target: &str) -> Result<Target, RemedyError> {
        let peers = self.peers.seen();
        if target.is_empty() {
            let down = peers.into_iter().find(|(_, seen)| matches!(seen.standing, Standing::Down(_)));
            return Ok(down.filter(|_| self.readiness.is_ready()).map_or(Target::Own, |(peer, _)| Target::Peer(peer)));
        }
        if target == self.own() || target == self.peers.own().service {
            return Ok(Target::Own);
        }
        let found = peers.iter().find(|(peer, _)| target == peer.address || target == peer.to_string());
        let known = || {
            let peers = peers.iter().map(|(peer, _)| peer.to_string());
            [self.own()].into_iter().chain(peers).collect::<Vec<_>>().join(", ")
        };
        let unknown = || RemedyError::NotNow(format!("{target} is not known here: there are {}", known()));
        found.map(|(peer, _)| Target::Peer(peer.clone())).ok_or_else(unknown)
    }

    /// A peer that can be asked, and who it is.
    async fn asked(&self, peer: &Peer) -> Result<(Channel, Who), RemedyError> {
        let asked = async {
            let channel = reach(&peer.address).await?;
            let who = identify(channel.clone()).await?;
            Ok((channel, who))
        };
        let dead =
            |why: String| format!("{peer}: {why}. Nothing is left that could be told: whoever supervises it has to start it");
        let (channel, who) = asked.await.map_err(|why| RemedyError::NotNow(dead(why)))?;
        if who.service != peer.service {
            return Err(RemedyError::NotNow(format!("{peer}: {} answers there", who.service)));
        }
        Ok((channel, who))
    }

    async fn tell(&self, peer: &Peer, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        running.step(0, 2)?;
        let (channel, who) = self.asked(peer).await?;
        let run = begin(channel, &who, format!("asked by {}", self.own())).await?;
        running.did(Effect::new(format!("{peer} told to start again, in its run {}", run.id), 1));
        let is_back = async {
            while self.asked(peer).await.map(|(_, now)| now.boot).ok().filter(|boot| *boot != who.boot).is_none() {
                sleep(LOOK).await;
            }
        };
        running.step(1, 2)?;
        tokio::select! {
            () = is_back => {}
            () = running.stopped() => return Err(RemedyError::Stopped),
        }
        tracing::info!(%peer, target = planned.target, "a peer has started again");
        running.did(Effect::new(format!("{peer} is back"), 1));
        Ok(())
    }
}

/// A service as a target of its own desk.
fn named(who: &Who) -> String {
    format!("{} {}", who.service, who.instance)
}

/// Plans and executes it at the peer's own desk, which asks for no more than ours did.
async fn begin(channel: Channel, who: &Who, reason: String) -> Result<RemedyRun, RemedyError> {
    let mut desk = FailureModeServiceClient::new(channel);
    let (failure_mode, key, target) = (CRASH.to_owned(), KEY.to_owned(), named(who));
    let asked = async {
        let plan = PlanRemedyRequest { failure_mode, key, target, reason: reason.clone() };
        let plan = desk.plan_remedy(plan).await?.into_inner();
        let idempotency_key = plan.id.clone();
        let execute = ExecuteRemedyRequest { plan_id: plan.id, confirm: plan.confirm, idempotency_key, reason };
        desk.execute_remedy(execute).await
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(run)) => Ok(run.into_inner()),
        Ok(Err(refused)) => Err(RemedyError::Failed(format!("its desk refused: {}", refused.message()))),
        Err(_) => Err(RemedyError::Failed(format!("its desk did not answer within {PATIENCE:?}"))),
    }
}

/// This life ends, and the next one finds the run.
struct Next(Shutdown);

impl Successor for Next {
    fn hand_over(self: Box<Self>, left: String) -> bool {
        self.0.restart(left)
    }
}

#[async_trait]
impl Remedy for Restart {
    fn key(&self) -> &'static str {
        KEY
    }

    fn title(&self) -> &'static str {
        "restart a service, drained first"
    }

    fn modes(&self) -> &'static [&'static str] {
        &[CRASH]
    }

    /// Nothing that was there before the restart could be brought back, and nothing has to be: what was counted is in the store.
    fn reversibility(&self) -> Reversibility {
        Reversibility::Safe
    }

    fn signal(&self, target: &str) -> Option<Result<(), String>> {
        let of_own = target.is_empty() || target == self.own();
        let reasons = || match &self.readiness.reasons()[..] {
            [] => Ok(()),
            reasons => Err(format!("{} does not serve: {}", self.own(), reasons.join("; "))),
        };
        of_own.then(reasons)
    }

    fn successor(&self, planned: &Planned) -> Option<Box<dyn Successor>> {
        (planned.target == self.own()).then(|| Box::new(Next(self.shutdown.clone())) as Box<dyn Successor>)
    }

    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        let (target, who) = match self.target(target)? {
            Target::Own => (self.own(), self.peers.own().clone()),
            Target::Peer(peer) => (peer.to_string(), self.asked(&peer).await?.1),
        };
        let drained = Effect::new(format!("{target} takes no more requests, finishes those under way, and starts again"), 1);
        Ok(Planned {
            target,
            effects: vec![drained],
            count: 1,
            world: World::default().with("boot", who.boot),
            expected: EXPECTED,
            undo_within: None,
        })
    }

    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        match self.target(&planned.target)? {
            Target::Peer(peer) => self.tell(&peer, planned, running).await,
            Target::Own => {
                running.step(0, 1)?;
                running.did(Effect::new(format!("{} told to start again", planned.target), 1));
                Ok(())
            }
        }
    }
}
