//! Private servers that keep history: two that speak S3, ClickHouse as a distribution ships it, and a current engine of it.

use crate::{
    binaries, ports,
    ports::Ready,
    process::{self, Process},
};
use anyhow::{Context, Result, ensure};
use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};
use tempfile::TempDir;

/// The one key of each server that asks for one.
pub const KEY: &str = "loadline";
/// See [`KEY`].
pub const SECRET: &str = "of-this-test-only";
const PATIENCE: Duration = Duration::from_secs(60);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// S3; it checks signatures.
    SeaweedFs,
    /// A model of S3 in Python.
    Moto,
    /// As Debian 12 ships it.
    ClickHouse18,
    /// A current engine behind a small HTTP stand-in; not a server.
    ClickHouseEngine,
}

/// A running (or killed) server. Its port and its folder go with it.
#[derive(Debug)]
pub struct HistoryServer {
    keeper: Keeper,
    port: u16,
    process: Process,
    _folder: TempDir,
}

impl HistoryServer {
    /// Starts one on a free port and waits until it answers; one that speaks S3 has the bucket `history` then.
    ///
    /// # Errors
    /// When the program is absent, ends, or does not get ready; with what it wrote.
    pub async fn start(keeper: Keeper) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("loadline-history-").tempdir()?;
        let port = ports::free()?;
        let (command, made_by) = match keeper {
            Keeper::SeaweedFs => seaweedfs(folder.path(), port)?,
            Keeper::Moto => (moto(port)?, Some((port, "PUT", "/history"))),
            Keeper::ClickHouse18 => (clickhouse_18(folder.path(), port)?, None),
            Keeper::ClickHouseEngine => (clickhouse_engine(folder.path(), port)?, None),
        };
        let process = Process::spawn(&format!("{keeper:?}"), command, &folder.path().join("output"))?;
        let mut server = Self { keeper, port, process, _folder: folder };
        server.ready().await.with_context(|| format!("it wrote:\n{}", process::last_lines(&server.process.output(), 40)))?;
        if let Some((admin, method, path)) = made_by {
            let (status, said) = ports::http(ports::local(admin), method, path).await?;
            ensure!(status / 100 == 2, "making a bucket: {status} {said}");
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        ports::local(self.port)
    }

    /// URL of an empty place of this name: a prefix or a database.
    pub fn url(&self, name: &str) -> String {
        self.url_at(name, self.address())
    }

    /// The same, led through a proxy.
    pub fn url_at(&self, name: &str, address: SocketAddr) -> String {
        match self.keeper {
            Keeper::SeaweedFs | Keeper::Moto => {
                format!(
                    "s3://history/some/{name}?endpoint=http://{address}&region=us-east-1&access_key={KEY}&secret_key={SECRET}"
                )
            }
            Keeper::ClickHouse18 | Keeper::ClickHouseEngine => format!("clickhouse://{address}/{name}?compression=none"),
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Runs a statement behind the back of those who use it; ClickHouse only.
    ///
    /// # Errors
    /// When it refuses, with what it said.
    pub async fn statement(&self, sql: &str) -> Result<()> {
        let encoded: String = sql.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let (status, said) = ports::http(self.address(), "POST", &format!("/?query={encoded}")).await?;
        ensure!(status == 200, "{sql}: {status} {said}");
        Ok(())
    }

    async fn ready(&mut self) -> Result<()> {
        let address = self.address();
        let path = match self.keeper {
            Keeper::SeaweedFs => "/status",
            Keeper::Moto => "/moto-api/",
            Keeper::ClickHouse18 | Keeper::ClickHouseEngine => "/ping",
        };
        let process = &mut self.process;
        ports::wait_until("the history's server", PATIENCE, || {
            let alive = process.ensure_alive();
            async move {
                alive?;
                Ok(match ports::http_get(address, path).await {
                    Ok((200, _)) => Ready::Yes,
                    Ok((status, said)) => Ready::No(format!("{status} {said}")),
                    Err(error) => Ready::No(error.to_string()),
                })
            }
        })
        .await
    }
}

/// How to start a server, and how to make its bucket: a port, a method and a path.
type Start = (Command, Option<(u16, &'static str, &'static str)>);

fn seaweedfs(folder: &Path, port: u16) -> Result<Start> {
    let access = format!(
        r#"{{"identities": [{{"name": "test", "credentials": [{{"accessKey": "{KEY}", "secretKey": "{SECRET}"}}],
            "actions": ["Admin", "Read", "Write", "List"]}}]}}"#
    );
    fs::write(folder.join("s3.json"), access)?;
    fs::create_dir(folder.join("data"))?;
    let filer = ports::free()?;
    let mut command = Command::new(binaries::weed()?);
    command.current_dir(folder).arg("server").arg("-dir=data").args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]);
    // What listens on a fixed port would end the second copy on a machine.
    command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", "-s3.config=s3.json", "-volume.max=50"]);
    // Otherwise it refuses to write once 1 % of the disk is left, gigabytes on a large one.
    command.arg("-volume.minFreeSpace=100MiB");
    for (name, port) in [("master", ports::free()?), ("volume", ports::free()?), ("filer", filer), ("s3", port)] {
        // Its gRPC port would be 10,000 above.
        command.arg(format!("-{name}.port={port}")).arg(format!("-{name}.port.grpc={}", ports::free()?));
    }
    Ok((command, Some((filer, "POST", "/buckets/history/"))))
}

fn moto(port: u16) -> Result<Command> {
    let mut command = Command::new(binaries::moto()?);
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    Ok(command)
}

fn clickhouse_18(folder: &Path, port: u16) -> Result<Command> {
    let (path, tcp) = (folder.display(), ports::free()?);
    let config = format!(
        "<yandex><logger><level>warning</level><console>1</console></logger><listen_host>127.0.0.1</listen_host>
         <http_port>{port}</http_port><tcp_port>{tcp}</tcp_port><path>{path}/data/</path><tmp_path>{path}/tmp/</tmp_path>
         <users_config>users.xml</users_config><default_profile>default</default_profile>
         <default_database>default</default_database><mark_cache_size>67108864</mark_cache_size></yandex>"
    );
    let user = |name: &str, password: &str| {
        format!(
            "<{name}><password>{password}</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>
             <quota>default</quota></{name}>"
        )
    };
    let users = format!(
        "<yandex><profiles><default/></profiles><quotas><default/></quotas><users>{}{}</users></yandex>",
        user("default", ""),
        user(KEY, SECRET)
    );
    fs::write(folder.join("config.xml"), config)?;
    fs::write(folder.join("users.xml"), users)?;
    let mut command = Command::new(binaries::clickhouse_18()?);
    command.arg(format!("--config-file={path}/config.xml"));
    Ok(command)
}

fn clickhouse_engine(folder: &Path, port: u16) -> Result<Command> {
    let mut command = Command::new(binaries::python());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/stand_ins/clickhouse_engine.py"));
    command.arg(folder.join("data")).arg(port.to_string());
    Ok(command)
}
