//! `migrate`.

use std::process::ExitCode;

use serde_json::json;

use super::{Failure, Output, log, say};
use crate::app;
use crate::config::Config;
use crate::db::{self, Db};

pub(super) const MIGRATE: &str = "\
Example:
  export CAPECONTROL_DATABASE__URL=postgres://capecontrol:…@db.example.com/capecontrol
  CAPECONTROL_DATABASE__OWNER_URL=postgres://owner:…@db.example.com/capecontrol capecontrol migrate

Exit codes: 0 the database is at the level of this program, or ahead of it; 1 not done; 2 wrong arguments.
Secrets: the passwords of the database come from DATABASE__URL and DATABASE__OWNER_URL, or the files that the same
names with _FILE name.";

pub(super) async fn migrate(config: Config, output: Output) -> Result<ExitCode, Failure> {
    log::init(&config.log);
    app::prepare_folder(&config)?;
    let db = Db::open(&db::Options::new(config.database.url.expose())).await?;
    let (before, after) = app::migrate(&config, &db).await.map_err(|error| error.chain())?;
    if output.json {
        say(json!({ "before": before.applied, "after": after.applied, "expected": after.expected }));
    } else if before.applied == after.applied {
        say(format_args!("The database is at migration {} already.", after.applied));
    } else {
        say(format_args!("The database went from migration {} to {}.", before.applied, after.applied));
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}
