//! Hearing nothing more from somebody, and reporting what they wrote.

use serde::{Deserialize, Serialize};

use super::Service;
use super::messages::visible;
use crate::auth::{self, Caller};
use crate::base::{AccountId, Timestamp, Violations};
use crate::chat::error::Error;
use crate::chat::model::conduct::{BLOCKS_MAX, Block, Complaint, ReportId};
use crate::chat::model::{Thread, ThreadKind};
use crate::chat::store;
use crate::db::{Conn, Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};

/// Whom a person hears is no organisation's business.
const BLOCKS: Scope = Scope::System("chat.blocks");

/// That a message was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// The report.
    pub id: ReportId,
    /// When.
    pub at: Timestamp,
}

impl Service {
    /// Has the caller hear nothing more from somebody.
    pub async fn block_account(
        &self,
        caller: &Caller,
        blocked_id: AccountId,
        key: Option<&RequestKey>,
    ) -> Result<Block, Error> {
        let account = caller.account()?;
        if blocked_id == account {
            return Err(Violations::one("account_id", "must be somebody else").into());
        }
        let mut tx = self.db.begin(BLOCKS).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(block) => return Ok(block),
            Claim::New(slot) => slot,
        };
        if let Some(block) = store::block(&mut tx, account, blocked_id).await? {
            self.keep_answer(tx, caller, key, &block).await?;
            return Ok(block);
        }
        if !auth::access::is_colleague(&mut tx, caller, blocked_id).await? {
            return Err(Error::MemberNotFound);
        }
        let block = Block { account_id: blocked_id, created_at: self.world.now() };
        store::insert_block(&mut tx, account, blocked_id, block.created_at).await?;
        if store::count_blocks(&mut tx, account).await? > BLOCKS_MAX {
            return Err(Error::TooManyBlocks);
        }
        let entry = caller.entry("chat.block_account").on("account", blocked_id);
        self.outside.auth.audit().record(&mut tx, entry).await?;
        slot.store(&mut tx, &block).await?;
        tx.commit().await?;
        Ok(block)
    }

    /// Has the caller hear somebody again.
    pub async fn unblock_account(
        &self,
        caller: &Caller,
        blocked_id: AccountId,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        let account = caller.account()?;
        let mut tx = self.db.begin(BLOCKS).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        if !store::delete_block(&mut tx, account, blocked_id).await? {
            return Err(Error::MemberNotFound);
        }
        let entry = caller.entry("chat.unblock_account").on("account", blocked_id);
        self.outside.auth.audit().record(&mut tx, entry).await?;
        slot.store(&mut tx, &()).await?;
        Ok(tx.commit().await?)
    }

    /// A page of those whom the caller blocks, from behind `after` on.
    pub async fn blocked_accounts(
        &self,
        caller: &Caller,
        after: AccountId,
        limit: i64,
    ) -> Result<Vec<Block>, Error> {
        let mut conn = self.db.conn(BLOCKS).await?;
        Ok(store::blocks(&mut conn, caller.account()?, after, limit).await?)
    }

    /// Tells those who run the platform of a message, with its text as it is.
    pub async fn report_message(
        &self,
        caller: &Caller,
        complaint: Complaint,
        key: Option<&RequestKey>,
    ) -> Result<Reported, Error> {
        let (account, message_id) = (caller.account()?, complaint.message_id);
        let place = self.locate_message(message_id).await?;
        let mut tx = self.begin_in(place.map(|(home, _)| home)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(reported) => return Ok(reported),
            Claim::New(slot) => slot,
        };
        let message = visible(&mut tx, caller, place, message_id).await?;
        let (home, _) = place.ok_or(Error::MessageNotFound)?;
        if let Some((id, at)) = store::report_by(&mut tx, home, message_id, account).await? {
            let reported = Reported { id, at };
            self.keep_answer(tx, caller, key, &reported).await?;
            return Ok(reported);
        }
        if message.deleted_at.is_some() {
            return Err(Error::MessageDeleted);
        }
        let report = complaint.of(self.world.id(), home, message, account, self.world.now());
        let mut reported = Reported { id: report.id, at: report.created_at };
        if !store::insert_report(&mut tx, &report).await? {
            // Another call of the same person was quicker.
            let first = store::report_by(&mut tx, home, message_id, account).await?;
            let (id, at) = first.ok_or(Error::Broken(None))?;
            reported = Reported { id, at };
            self.keep_answer(tx, caller, key, &reported).await?;
            return Ok(reported);
        }
        let entry = caller.entry("chat.report_message").of(home).on("message", message_id);
        self.outside.auth.audit().record(&mut tx, entry).await?;
        slot.store(&mut tx, &reported).await?;
        tx.commit().await?;
        Ok(reported)
    }
}

/// That an account may write to those named, who are new in a thread. Whoever does not want to hear them is as good
/// as not there.
pub(super) async fn may_reach(tx: &mut Tx, account: AccountId, others: &[AccountId]) -> Result<(), Error> {
    if others.is_empty() || store::deaf_among(tx, account, others).await?.is_empty() {
        return Ok(());
    }
    Err(Error::MemberNotFound)
}

/// That the two of a direct thread hear each other; there is nothing to ask in other threads.
pub(super) async fn hear_each_other(
    conn: &mut impl Conn,
    thread: &Thread,
    account: AccountId,
) -> Result<(), Error> {
    silence(conn, thread, account).await?.map_or(Ok(()), Err)
}

/// Why somebody may say nothing in a direct thread, if that is so.
pub(super) async fn silence(
    conn: &mut impl Conn,
    thread: &Thread,
    account: AccountId,
) -> Result<Option<Error>, Error> {
    if thread.kind != ThreadKind::Direct {
        return Ok(None);
    }
    let (home, thread_id) = (thread.organization_id, thread.id);
    if store::is_deaf_in_thread(conn, home, thread_id, account).await? {
        return Ok(Some(Error::AccountBlocked));
    }
    // In the words for everybody who may only read: why is not said.
    let deaf = store::deaf_in_thread(conn, home, thread_id, account).await?;
    Ok((!deaf.is_empty()).then_some(Error::ReadOnly))
}
