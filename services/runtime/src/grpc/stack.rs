//! The layers in their order.

use std::sync::Arc;

use tonic::service::Routes;
use tower::ServiceBuilder;

use super::Settings;
use super::around::{AroundLayer, Inner};
use super::authenticate::Authenticate;
use super::authorise::Authorise;
use super::deadline::{Deadlines, LongLived};
use super::message_size::MessageSize;
use super::metrics::{Instruments, Metrics};
use super::overload::Overload;
use super::shed::Shed;
use super::trace::Trace;
use crate::access::AccessRules;
use crate::identity::IdentityProvider;

/// The routes with every layer around them.
pub(super) fn stack(
    settings: &Settings,
    rules: Arc<AccessRules>,
    provider: Arc<dyn IdentityProvider>,
    long_lived: LongLived,
    instruments: Instruments,
    overload: Overload,
    routes: Routes,
) -> impl Inner {
    ServiceBuilder::new()
        // Outermost, so that what every other layer does belongs to the request's span.
        .layer(AroundLayer(Trace))
        // Outside all that refuse, so that refusals are counted.
        .layer(AroundLayer(Metrics { instruments, rules: rules.clone() }))
        // Before all that costs: past saturation this is what most requests meet.
        .layer(AroundLayer(overload))
        // Before anything that costs more: who calls decides what may be spent.
        .layer(AroundLayer(Authenticate(provider)))
        // Denied before a slot or a deadline is taken.
        .layer(AroundLayer(Authorise(rules)))
        // On the request's own bytes, before a service decodes them.
        .layer(AroundLayer(MessageSize(settings.max_message_bytes)))
        // Outside the slot, so that the end of the time frees the slot.
        .layer(AroundLayer(Deadlines { max: settings.max_deadline.0, long_lived }))
        // Innermost: a slot is held only by what is really worked on.
        .layer(AroundLayer(Shed::new(settings.max_in_flight)))
        .service(routes.prepare())
}
