//! A whole service in a few lines: it serves nothing but reflection, and has everything a service has around it.
//!
//! ```text
//! cargo run -p loadline-runtime --example service -- service.toml service.listen=127.0.0.1:7400
//! ```
//!
//! The first argument is a configuration file (or `-`), the others are `key=value`. It prints its gRPC and admin addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use loadline_runtime::admin::{self, Readiness};
use loadline_runtime::config::{Check, Problems, key};
use loadline_runtime::grpc::{self, Server};
use loadline_runtime::identity::LocalProvider;
use loadline_runtime::run::{bind, configuration};
use loadline_runtime::telemetry::{self, Telemetry};
use loadline_runtime::{Shutdown, run};
use serde::{Deserialize, Serialize};
use tonic::service::Routes;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Settings {
    service: Listen,
    grpc: grpc::Settings,
    admin: Listen,
    telemetry: telemetry::Settings,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
struct Listen {
    listen: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
    }
}

impl Check for Settings {
    fn check(&self, at: &str, problems: &mut Problems) {
        self.grpc.check(&key(at, "grpc"), problems);
        self.telemetry.check(&key(at, "telemetry"), problems);
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().filter(|file| file != "-");
    let flags = arguments.filter_map(|flag| flag.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect();
    let settings: Settings = match configuration(file.as_deref().map(Path::new), flags) {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    let (telemetry, grace) = (settings.telemetry.clone(), settings.grpc.grace.0);
    run("example", env!("CARGO_PKG_VERSION"), &telemetry, grace, |telemetry, shutdown| serve(settings, telemetry, shutdown))
}

async fn serve(settings: Settings, telemetry: Telemetry, shutdown: Shutdown) -> Result<(), Box<dyn std::error::Error>> {
    let (port, admin_port) =
        (bind(settings.service.listen, "service.listen").await?, bind(settings.admin.listen, "admin.listen").await?);
    println!("{} {}", port.local_addr()?, admin_port.local_addr()?);
    let (metrics, readiness) = (telemetry.clone(), Readiness::new(&["grpc"]));
    let admin = admin::serve(admin_port, readiness.clone(), move || metrics.metrics_text(), shutdown.clone());

    let (v1, v1alpha) = grpc::reflection(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET, &[])?;
    let routes = Routes::new(v1).add_service(v1alpha);
    let server = Server::new(settings.grpc, &[], Arc::new(LocalProvider), &telemetry);
    readiness.set("grpc", true, "");
    tokio::join!(server.serve(port, routes, shutdown), admin);
    Ok(())
}
