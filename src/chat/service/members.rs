//! Who joins a thread, who leaves it, and how far each has read.

use std::sync::Arc;

use super::account::SeatChange;
use super::{Service, conduct, not_held};
use crate::auth::{self, Caller};
use crate::base::{AccountId, Violations};
use crate::chat::error::Error;
use crate::chat::model::frame::{Fleeting, Typing, TypingNotice};
use crate::chat::model::member::{TYPING_MEMBERS_MAX, ThreadMember, ThreadRole};
use crate::chat::model::plan::Allowed;
use crate::chat::model::{Actor, Change, Thread, ThreadId, ThreadKind};
use crate::chat::store;
use crate::db::{Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};

impl Service {
    /// A page of a thread's members, from behind `after` on.
    pub async fn thread_members(
        &self,
        caller: &Caller,
        thread_id: ThreadId,
        after: AccountId,
        limit: i64,
    ) -> Result<Vec<ThreadMember>, Error> {
        let (mut conn, thread) = self.open(caller, thread_id).await?;
        Ok(store::members(&mut conn, thread.organization_id, thread_id, after, limit).await?)
    }

    /// Makes somebody of the organisation a member of a thread, or gives a member another role.
    pub async fn add_thread_member(
        &self,
        caller: &Caller,
        thread_id: ThreadId,
        account_id: AccountId,
        role: ThreadRole,
        key: Option<&RequestKey>,
    ) -> Result<ThreadMember, Error> {
        let home = self.locate_thread(thread_id).await?;
        let allowed = self.allowed(home).await?;
        let mut tx = self.begin_in(home).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(member) => return Ok(member),
            Claim::New(slot) => slot,
        };
        let home = home.ok_or(Error::ThreadNotFound)?;
        let thread = self.manage(&mut tx, caller, home, thread_id).await?;
        if !auth::access::is_member(&mut tx, home, account_id).await? {
            return Err(Error::MemberNotFound);
        }
        let before = store::member(&mut tx, home, thread_id, account_id).await?;
        if let Some(member) = before.clone().filter(|member| member.role == role) {
            self.keep_answer(tx, caller, key, &member).await?;
            return Ok(member);
        }
        let change = if let Some(member) = &before {
            self.give_role(&mut tx, &thread, member, role).await?;
            self.log_seats(&mut tx, &thread, vec![(account_id, SeatChange::Changed)]).await?;
            Change::MemberRoleChanged { account_id, role }
        } else {
            conduct::may_reach(&mut tx, caller.account()?, &[account_id]).await?;
            self.admit(&mut tx, &thread, account_id, role, allowed.as_ref()).await?;
            Change::MemberAdded { account_id, role }
        };
        self.note(&mut tx, &thread, Actor::Account(caller.account()?), change)?;
        let after = store::member(&mut tx, home, thread_id, account_id).await?;
        let after = after.ok_or(Error::MemberNotFound)?;
        let entry = caller.entry("chat.add_thread_member").of(home).on("thread", thread_id);
        self.outside.auth.audit().record(&mut tx, entry.changed(&before, &after)).await?;
        slot.store(&mut tx, &after).await?;
        tx.commit().await?;
        Ok(after)
    }

    async fn give_role(
        &self,
        tx: &mut Tx,
        thread: &Thread,
        member: &ThreadMember,
        role: ThreadRole,
    ) -> Result<(), Error> {
        let (_, owners) = store::count_members(tx, thread.organization_id, thread.id).await?;
        if member.role == ThreadRole::Owner && owners <= 1 {
            return Err(Error::LastOwner);
        }
        Ok(store::set_role(tx, thread.organization_id, thread.id, member.account_id, role).await?)
    }

    /// Makes somebody a member of a thread that is locked. Staff of the platform come in whatever the plan says.
    pub(super) async fn admit(
        &self,
        tx: &mut Tx,
        thread: &Thread,
        account_id: AccountId,
        role: ThreadRole,
        allowed: Option<&Allowed>,
    ) -> Result<(), Error> {
        let (members, _) = store::count_members(tx, thread.organization_id, thread.id).await?;
        if let Some(allowed) = allowed {
            allowed.check_members(members.saturating_add(1)).map_err(Error::TooManyMembers)?;
        }
        let (home, now) = (thread.organization_id, self.world.now());
        store::insert_members(tx, home, thread.id, &[(account_id, role)], now).await?;
        self.log_seats(tx, thread, vec![(account_id, SeatChange::Joined)]).await
    }

    /// Ends a membership: the caller's own, or somebody's by whoever manages the thread. A thread that loses its last
    /// owner gets another.
    pub async fn remove_thread_member(
        &self,
        caller: &Caller,
        thread_id: ThreadId,
        account_id: Option<AccountId>,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        let account = caller.account()?;
        let leaving = account_id.unwrap_or(account);
        let home = self.locate_thread(thread_id).await?;
        let mut tx = self.begin_in(home).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        let home = home.ok_or(Error::ThreadNotFound)?;
        let (thread, manages) = self.lock(&mut tx, caller, home, thread_id).await?;
        if !manages && leaving != account {
            return Err(Error::ManagersOnly);
        }
        if thread.kind == ThreadKind::Direct {
            return Err(Error::ThreadIsDirect);
        }
        let before = store::member(&mut tx, home, thread_id, leaving).await?;
        let before = before.ok_or(Error::MemberNotFound)?;
        store::delete_member(&mut tx, home, thread_id, leaving).await?;
        let actor = Actor::Account(account);
        self.note(&mut tx, &thread, actor, Change::MemberRemoved { account_id: leaving })?;
        let (members, owners) = store::count_members(&mut tx, home, thread_id).await?;
        let mut seats = vec![(leaving, SeatChange::Left)];
        if members == 0 {
            // Nobody is left to see it, or to delete it.
            not_held(&mut tx, home, self.world.now()).await?;
            self.close(&mut tx, &thread).await?;
        } else if owners == 0 {
            let owner = self.find_owner(&mut tx, &thread, actor).await?;
            seats.extend(owner.map(|owner| (owner, SeatChange::Changed)));
        }
        self.log_seats(&mut tx, &thread, seats).await?;
        let entry = caller.entry("chat.remove_thread_member").of(home).on("thread", thread_id);
        self.outside.auth.audit().record(&mut tx, entry.changed(&before, &())).await?;
        slot.store(&mut tx, &()).await?;
        Ok(tx.commit().await?)
    }

    /// Gives a thread that has no owner one, if anybody is there to be it.
    async fn find_owner(
        &self,
        tx: &mut Tx,
        thread: &Thread,
        actor: Actor,
    ) -> Result<Option<AccountId>, Error> {
        let (home, thread_id) = (thread.organization_id, thread.id);
        let Some(account_id) = store::longest_member(tx, home, thread_id).await? else { return Ok(None) };
        let role = ThreadRole::Owner;
        store::set_role(tx, home, thread_id, account_id, role).await?;
        self.note_also(tx, thread, actor, Change::MemberRoleChanged { account_id, role }).await?;
        Ok(Some(account_id))
    }

    /// Tells whoever follows a thread that the caller is writing in it, or has stopped.
    pub async fn set_typing(&self, caller: &Caller, thread_id: ThreadId, typing: bool) -> Result<(), Error> {
        let account_id = caller.account()?;
        let (mut conn, home) = self.session_of(caller, thread_id).await?;
        let member = store::member(&mut conn, home, thread_id, account_id).await?;
        if member.ok_or(Error::ThreadNotFound)?.role == ThreadRole::Reader {
            return Err(Error::ReadOnly);
        }
        let (members, _) = store::count_members(&mut conn, home, thread_id).await?;
        if members <= TYPING_MEMBERS_MAX {
            let unheard = store::deaf_in_thread(&mut conn, home, thread_id, account_id).await?;
            let typing = Typing { thread_id, account_id, typing };
            self.hub.pass(&Fleeting::Typing(TypingNotice { typing, unheard }));
        }
        Ok(())
    }

    /// Notes how far the caller has read, and has the others told soon. Returns the mark, which never goes back.
    pub async fn mark_read(&self, caller: &Caller, thread_id: ThreadId, up_to: i64) -> Result<i64, Error> {
        let account = caller.account()?;
        let home = {
            let (_, thread) = self.open(caller, thread_id).await?;
            if !(0..=thread.last_seq).contains(&up_to) {
                let says = format!("must be between 0 and the thread's end, {}", thread.last_seq);
                return Err(Violations::one("up_to_seq", says).into());
            }
            thread.organization_id
        };
        let mut tx = self.db.begin(Scope::Organization(home)).await?;
        store::mark_read(&mut tx, home, thread_id, account, up_to).await?;
        let member = store::member(&mut tx, home, thread_id, account).await?;
        let mark = member.ok_or(Error::ThreadNotFound)?.read_seq;
        let hub = Arc::clone(&self.hub);
        tx.after_commit(move || hub.doubt_unread(account));
        tx.commit().await?;
        Ok(mark)
    }
}
