//! Taking a thread away as a file.

use uuid::Uuid;

use super::Service;
use crate::auth::Caller;
use crate::base::AccountId;
use crate::chat::error::Error;
use crate::chat::model::Thread;
use crate::chat::model::ThreadId;
use crate::chat::model::export::Writer;
use crate::chat::store;
use crate::db::Scope;

/// How many rows a part is made of: an event may have 64 KiB of text.
const ROWS_AT_ONCE: i64 = 50;

/// An export under way: who reads what, and how far it has come.
#[derive(Clone, Debug)]
pub struct Exporting {
    caller: Caller,
    thread: Thread,
    writer: Writer,
    stage: Stage,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Thread,
    /// Members from behind this one on.
    Members(AccountId),
    /// Events after this position.
    Events(i64),
    Over,
}

impl Service {
    /// Begins an export of a thread up to its end as it is now. That somebody took it away is an entry of the audit
    /// log.
    pub async fn export_thread(&self, caller: Caller, thread_id: ThreadId) -> Result<Exporting, Error> {
        let thread = self.open(&caller, thread_id).await?.1;
        let home = thread.organization_id;
        let mut tx = self.db.begin(Scope::Organization(home)).await?;
        let entry = caller.entry("chat.export_thread").of(home).on("thread", thread_id);
        self.outside.auth.audit().record(&mut tx, entry).await?;
        tx.commit().await?;
        Ok(Exporting { caller, thread, writer: Writer::new(), stage: Stage::Thread })
    }

    /// The next part of an export, if its reader may still have it; none at the end.
    pub async fn export_on(&self, mut export: Exporting) -> Result<Option<(Vec<u8>, Exporting)>, Error> {
        let (thread_id, home) = (export.thread.id, export.thread.organization_id);
        let mut conn = self.open(&export.caller, thread_id).await?.0;
        let part = match export.stage {
            Stage::Thread => {
                export.stage = Stage::Members(AccountId::from_uuid(Uuid::nil()));
                export.writer.thread(&export.thread)
            }
            Stage::Members(after) => {
                let members = store::members(&mut conn, home, thread_id, after, ROWS_AT_ONCE).await?;
                export.stage =
                    members.last().map_or(Stage::Events(0), |last| Stage::Members(last.account_id));
                export.writer.members(&members)
            }
            Stage::Events(after) => {
                let bounds = (after, export.thread.last_seq.saturating_add(1));
                let events = store::events_after(&mut conn, home, thread_id, bounds, ROWS_AT_ONCE).await?;
                if let Some(last) = events.last() {
                    export.stage = Stage::Events(last.seq);
                    export.writer.events(&events)
                } else {
                    export.stage = Stage::Over;
                    export.writer.clone().end()
                }
            }
            Stage::Over => return Ok(None),
        };
        Ok(Some((part, export)))
    }
}
