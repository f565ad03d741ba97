//! The services: they check a request, and hand it on.

mod inference;
mod models;
mod outcomes;
mod prediction_jobs;
mod predictions;
mod register;
mod routes;

pub(crate) use models::proto_time;
