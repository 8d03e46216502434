//! `migrate`.

use std::process::ExitCode;

use super::{Failure, log, say};
use crate::app;
use crate::config::Config;
use crate::db::{self, Db};

pub(super) async fn migrate(config: Config) -> Result<ExitCode, Failure> {
    log::init(&config.log);
    app::prepare_folder(&config)?;
    let db = Db::open(&db::Options::new(config.database.url.expose())).await?;
    let before = db.level().await.map_err(|error| error.chain())?;
    db.migrate().await.map_err(|error| error.chain())?;
    let after = db.level().await.map_err(|error| error.chain())?;
    if before.applied == after.applied {
        say(format_args!("The database is at migration {} already.", after.applied));
    } else {
        say(format_args!("The database went from migration {} to {}.", before.applied, after.applied));
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}
