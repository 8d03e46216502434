//! A program in a process of its own: started, watched through `/proc`, and gone when it is dropped.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::{Outcome, control, quiet};

/// How long a program may take for anything before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Clock ticks of `/proc/<pid>/stat` in a second, on every Linux that there is.
const TICKS_PER_SECOND: f64 = 100.0;
/// The key that the bench's own data is wrapped with. Never for real data.
pub const BENCH_KEY: &str = "YmVuY2ggb25seSwgbm90IGEgc2VjcmV0IGF0IGFsbCE=";

/// Where a program finds its data.
#[derive(Clone, Debug)]
pub struct Place {
    /// The data folder.
    pub folder: PathBuf,
    /// `sqlite://…` or `postgres://…`, as the role that serves.
    pub database_url: String,
    /// The same as the role that owns the tables, where there are roles.
    pub owner_url: Option<String>,
}

/// A running program.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    /// Where it listens: `http://127.0.0.1:<port>`.
    pub url: String,
    /// How long it took from its start to SERVING.
    pub started_in: Duration,
}

impl Program {
    /// The platform, as it is shipped.
    pub async fn platform(place: &Place) -> Outcome<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_capecontrol"));
        command.arg("serve");
        Self::start(settled(command, place), place).await
    }

    /// The platform as it is shipped, with passwords at the price that the settings' defaults give them.
    pub async fn platform_with_dear_hashes(place: &Place) -> Outcome<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_capecontrol"));
        command.arg("serve");
        let mut command = settled(command, place);
        for key in ["MEMORY_KIB", "PASSES"] {
            command.env_remove(format!("CAPECONTROL_AUTH__ARGON2_{key}"));
        }
        Self::start(command, place).await
    }

    /// The platform in this program, with no workers, so that jobs stay queued.
    pub async fn platform_without_jobs(place: &Place) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(quiet::ROLE);
        Self::start(settled(command, place), place).await
    }

    /// As [`Self::platform_without_jobs`], and each message is written by itself.
    pub async fn platform_one_by_one(place: &Place) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([quiet::ROLE, quiet::ONE_BY_ONE]);
        Self::start(settled(command, place), place).await
    }

    /// The control: this program in its other role.
    pub async fn control(place: &Place) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([control::ROLE, &place.database_url]);
        Self::start(command, place).await
    }

    async fn start(mut command: Command, place: &Place) -> Outcome<Self> {
        let from = Instant::now();
        let mut child = command
            .current_dir(&place.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(PATIENCE, lines.next_line()).await??;
        let first = first.ok_or("the program ended before it listened")?;
        let address = first.split_once(" on ").and_then(|(_, rest)| rest.split_whitespace().next());
        let url = format!("http://{}", address.ok_or_else(|| format!("no address in {first:?}"))?);
        tokio::time::timeout(PATIENCE, serving(&url)).await??;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, lines, url, started_in: from.elapsed() })
    }

    /// Tells the control to do something, and waits for its answer.
    pub async fn ask(&mut self, words: &str) -> Outcome<String> {
        let stdin = self.stdin.as_mut().ok_or("no standard input")?;
        stdin.write_all(format!("{words}\n").as_bytes()).await?;
        let answer = tokio::time::timeout(PATIENCE, self.lines.next_line()).await??;
        Ok(answer.ok_or("the control ended")?)
    }

    /// Processor time that it has used so far.
    pub fn cpu(&self) -> Outcome<Duration> {
        times(&self.proc("stat")?)
    }

    /// Memory that it holds, in bytes.
    pub fn resident(&self) -> Outcome<f64> {
        self.memory("VmRSS:")
    }

    /// The most memory that it held at any time since [`Self::forget_peak`], in bytes.
    pub fn peak(&self) -> Outcome<f64> {
        self.memory("VmHWM:")
    }

    /// Has the most memory that it held be what it holds now.
    pub fn forget_peak(&self) -> Outcome<()> {
        Ok(std::fs::write(self.proc("clear_refs")?, "5")?)
    }

    fn memory(&self, of: &str) -> Outcome<f64> {
        let status = std::fs::read_to_string(self.proc("status")?)?;
        let line = status.lines().find_map(|line| line.strip_prefix(of)).ok_or("no such line in /proc")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024.0)
    }

    /// The number by which profilers know it.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    fn proc(&self, file: &str) -> Outcome<PathBuf> {
        let id = self.child.id().ok_or("the program ended")?;
        Ok(PathBuf::from(format!("/proc/{id}/{file}")))
    }

    /// Ends it in good order.
    pub async fn stop(mut self) -> Outcome<()> {
        // Whoever reads orders would wait for the next one for ever.
        drop(self.stdin.take());
        let id = self.id().to_string();
        tokio::process::Command::new("kill").args(["-TERM", &id]).status().await?;
        tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        Ok(())
    }
}

/// Processor time that this very process has used so far.
pub fn own_cpu() -> Outcome<Duration> {
    times("/proc/self/stat")
}

/// The processor time that a line of `/proc` tells.
fn times(stat: impl AsRef<std::path::Path>) -> Outcome<Duration> {
    let stat = std::fs::read_to_string(stat)?;
    // The fields after the name, which may hold anything and ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).ok_or("no times in /proc")?;
    Ok(Duration::from_secs_f64((user + system) as f64 / TICKS_PER_SECOND))
}

/// The platform's settings.
fn settled(mut command: Command, place: &Place) -> Command {
    // Budgets are kept and looked at as ever; no caller of a bench reaches the end of one.
    let plenty = || "60000000/min burst 1000000".to_owned();
    let settings = [
        ("DATA_DIR", place.folder.display().to_string()),
        ("DATABASE__URL", place.database_url.clone()),
        ("DATABASE__OWNER_URL", place.owner_url.clone().unwrap_or_default()),
        ("DATABASE__MIGRATE", "true".to_owned()),
        ("SERVER__LISTEN", "127.0.0.1:0".to_owned()),
        ("OPS__LISTEN", "127.0.0.1:0".to_owned()),
        ("SECURITY__ROOT_KEY", BENCH_KEY.to_owned()),
        ("LOG__FILTER", "warn".to_owned()),
        // Signing in is not what is measured.
        ("AUTH__ARGON2_MEMORY_KIB", "64".to_owned()),
        ("AUTH__ARGON2_PASSES", "1".to_owned()),
        ("LIMITS__ORDINARY", plenty()),
        ("LIMITS__CREDENTIAL", plenty()),
        ("LIMITS__MESSAGE", plenty()),
        ("LIMITS__PAYMENT", plenty()),
        ("LIMITS__HEAVY", plenty()),
    ];
    command.envs(settings.map(|(key, value)| (format!("CAPECONTROL_{key}"), value)));
    command
}

/// Waits until a program says that it serves.
async fn serving(url: &str) -> Outcome<()> {
    let channel: Channel = Endpoint::new(url.to_owned())?.connect().await?;
    let request = HealthCheckRequest { service: String::new() };
    let mut states = HealthClient::new(channel).watch(request).await?.into_inner();
    while let Some(state) = states.message().await? {
        if state.status() == ServingStatus::Serving {
            return Ok(());
        }
    }
    Err("health ended before the program served".into())
}
