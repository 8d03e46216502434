//! PostgreSQL's own tools. Everything that is secret reaches them by their environment.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use super::Error;
use crate::db;

/// How much of what a tool said is repeated, in characters.
const SAID_CHARS_MAX: usize = 2_000;
/// Variables that would lead a tool to another server than the settings.
const MISLEADING: [&str; 4] = ["PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR", "PGOPTIONS"];

/// Where the tools are.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    /// The folder; none has them found as the shell finds programs.
    pub folder: Option<PathBuf>,
}

impl Tools {
    /// The major version of a tool.
    pub(super) async fn version(&self, tool: &'static str) -> Result<u32, Error> {
        let said = self.run(tool, self.command(tool).arg("--version")).await?;
        // `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, and `16beta2` before a release.
        let number = said.split(' ').find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let digits: String = number.unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
        digits
            .parse()
            .map_err(|_| Error::Tool { tool, said: format!("its version cannot be read in: {said}") })
    }

    /// Runs a tool on the database of a URL.
    pub(super) async fn on(&self, tool: &'static str, url: &str, arguments: &[&str]) -> Result<(), Error> {
        let mut command = self.command(tool);
        command.args(arguments);
        for name in MISLEADING {
            command.env_remove(name);
        }
        for (name, value) in db::environment(url)? {
            command.env(name, value.expose());
        }
        self.run(tool, &mut command).await.map(drop)
    }

    fn command(&self, tool: &str) -> Command {
        match &self.folder {
            Some(folder) => Command::new(folder.join(tool)),
            None => Command::new(tool),
        }
    }

    async fn run(&self, tool: &'static str, command: &mut Command) -> Result<String, Error> {
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|cause| Error::NoTool { tool, cause })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let said = text(&output.stderr);
        let skipped = said.chars().count().saturating_sub(SAID_CHARS_MAX);
        let said: String = said.chars().skip(skipped).collect();
        Err(Error::Tool { tool, said: if said.is_empty() { output.status.to_string() } else { said } })
    }
}
