//! `backup` and `restore`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::{Failure, Output, log, note, say};
use crate::app::{self, real};
use crate::backup::{self, Attachments, Manifest, Place, Tools};
use crate::base::Secret;
use crate::config::Config;
use crate::storage::Route;

pub(super) const BACKUP: &str = "\
Examples:
  capecontrol backup --to /backups/2026-11-20
  capecontrol backup --to /backups/2026-11-20 --with-root-key     all that an empty machine needs

Exit codes: 0 the backup is whole and on the disk; 1 not done, and nothing is left of it; 2 wrong arguments.
Secrets: the database's password comes from DATABASE__OWNER_URL, else from DATABASE__URL, and reaches pg_dump by its
environment. The root key is not in the backup: without it the data is of no use, and the two together are all that
somebody needs to be the platform. Keep it elsewhere (SECURITY__ROOT_KEY, or a copy of root.key), or say
--with-root-key and guard the backup like the key itself.";

pub(super) const RESTORE: &str = "\
Example, on an empty machine:
  install -m 600 -D root.key data/root.key       unless the backup was made --with-root-key
  capecontrol restore --from /backups/2026-11-20
  capecontrol serve

Exit codes: 0 restored; 1 not done; 2 wrong arguments.
Secrets: as with backup. The root key is taken from SECURITY__ROOT_KEY or root.key, else from a backup that has it.";

#[derive(Debug, clap::Args)]
pub(super) struct BackupArguments {
    /// The folder to be made; it must not exist, and the one around it must.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Put the root key into the backup too.
    #[arg(long)]
    with_root_key: bool,
    /// The folder of pg_dump, when it is not found by itself; as in /usr/lib/postgresql/17/bin.
    #[arg(long, value_name = "FOLDER")]
    tools: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArguments {
    /// The folder that `backup` made.
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// The folder of pg_restore, when it is not found by itself; as in /usr/lib/postgresql/17/bin.
    #[arg(long, value_name = "FOLDER")]
    tools: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

fn report(line: &str) {
    note(format_args!("{line} …"));
}

fn place(config: &Config, tools: Option<PathBuf>) -> Result<Place<'static>, Failure> {
    let root = app::existing_root_key(config)?;
    let (url, owner, tools) = (&config.database.url, &config.database.owner_url, Tools { folder: tools });
    let (url, server_url) = match owner {
        Some(owner) => (owner.clone(), Some(url.clone())),
        None => (url.clone(), None),
    };
    let files = match &config.storage {
        Route::Folder(folder) => Some(folder.clone()),
        Route::S3(_) => None,
    };
    Ok(Place { url, server_url, files, root, world: real::world(), tools, report: &report })
}

pub(super) async fn write(config: Config, arguments: BackupArguments) -> Result<ExitCode, Failure> {
    log::init(&config.log);
    app::must_exist(&config)?;
    let place = place(&config, arguments.tools)?;
    let root_key = if arguments.with_root_key {
        let missing =
            "the backup is to have the root key, and there is none in SECURITY__ROOT_KEY or root.key";
        Some(place.root.as_ref().ok_or(missing)?.to_text())
    } else {
        None
    };
    let text = root_key.as_ref().map(Secret::expose).map(String::as_str);
    let manifest = backup::write(&place, &arguments.to, text).await?;
    if arguments.output.json {
        say(json!({ "folder": arguments.to, "manifest": manifest }));
        return Ok(ExitCode::SUCCESS);
    }
    let bytes: u64 = manifest.files.iter().map(|entry| entry.bytes).sum();
    let (folder, engine, level) = (arguments.to.display(), manifest.engine, manifest.level);
    say(format_args!("Backed up {engine} at migration {level} to {folder}: {bytes} bytes."));
    say_files(&manifest);
    if manifest.has_root_key() {
        say("The root key is in it: whoever reads this folder can be the platform. Guard it like the key.");
    } else {
        say("The root key is not in it, and nothing opens the data without it. Is it kept elsewhere?");
    }
    Ok(ExitCode::SUCCESS)
}

fn say_files(manifest: &Manifest) {
    match manifest.attachments {
        Some(Attachments { files, bytes }) => {
            say(format_args!("Files of conversations in it: {files}, of {bytes} bytes."));
        }
        None => say("The files of conversations are kept at a service, and not in it: back them up there."),
    }
}

pub(super) async fn restore(config: Config, arguments: RestoreArguments) -> Result<ExitCode, Failure> {
    log::init(&config.log);
    app::prepare_folder(&config)?;
    let _lock = app::lock(&config)?;
    let place = place(&config, arguments.tools)?;
    let restored = backup::restore(&place, &arguments.from, &app::root_key_file(&config)).await?;
    let manifest = &restored.manifest;
    if arguments.output.json {
        let told = json!({
            "manifest": manifest,
            "root_key_restored": restored.with_root_key,
            "migration_needed": restored.behind,
        });
        say(told);
        return Ok(ExitCode::SUCCESS);
    }
    let (engine, level, made) = (manifest.engine, manifest.level, &manifest.created_at);
    say(format_args!("Restored {engine} at migration {level}, as it was at {made}."));
    say_files(manifest);
    if restored.with_root_key {
        say(format_args!("The root key is in {}.", app::root_key_file(&config).display()));
    }
    if restored.behind {
        say(
            "The database is behind this program: run `capecontrol migrate`, unless DATABASE__MIGRATE is true.",
        );
    }
    say(
        "What happened since is not in it, but others know of it: PayFast of payments, people of what they wrote.",
    );
    say(
        "Sessions that were ended since stand again. See \"After a restore\" in docs/operations.md before serving.",
    );
    Ok(ExitCode::SUCCESS)
}
