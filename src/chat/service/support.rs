//! Threads with the platform's support staff.
//!
//! Staff belong to no organisation. Whoever of them takes a support thread up becomes a member of that very thread, and
//! sees nothing else of its organisation. They are let in by two things that are asked each time: that they took this
//! thread up, and that they are staff at this moment. Staff are the platform's administrators.

use std::collections::HashMap;

use super::threads::seen;
use super::{Service, admitted, unseen};
use crate::auth::{self, Caller, OrganizationRole};
use crate::base::{AccountId, OrganizationId};
use crate::chat::error::Error;
use crate::chat::model::member::{SeenThread, ThreadRole};
use crate::chat::model::support::{
    Support, SupportAfter, SupportChange, SupportPriority, SupportState, SupportThread, Told,
};
use crate::chat::model::{Actor, Change, Thread, ThreadId};
use crate::chat::store;
use crate::db::{Conn, Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};

const SCOPE: Scope = Scope::System("chat.support");

/// Which support threads the staff wants to see.
#[derive(Clone, Copy, Debug)]
pub struct ListSupport {
    /// Whom they wait for.
    pub state: SupportState,
    /// How urgent they are; all when none.
    pub priority: Option<SupportPriority>,
}

impl Service {
    /// A page of the support threads of all organisations.
    pub async fn support_threads(
        &self,
        caller: &Caller,
        wanted: ListSupport,
        after: Option<SupportAfter>,
        limit: i64,
    ) -> Result<Vec<SupportThread>, Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        check_staff(&mut conn, caller).await?;
        let mut threads =
            store::support_threads(&mut conn, wanted.state, wanted.priority, after, limit).await?;
        let ids: Vec<ThreadId> = threads.iter().map(|thread| thread.thread_id).collect();
        for (thread_id, account_id) in store::staff_of(&mut conn, &ids).await? {
            for thread in threads.iter_mut().filter(|thread| thread.thread_id == thread_id) {
                thread.staff.push(account_id);
            }
        }
        Ok(threads)
    }

    /// Makes the caller, who is staff, a member of a support thread.
    pub async fn take_support_thread(
        &self,
        caller: &Caller,
        thread_id: ThreadId,
        key: Option<&RequestKey>,
    ) -> Result<SeenThread, Error> {
        let account_id = caller.account()?;
        let home = self.locate_thread(thread_id).await?;
        let mut tx = self.begin_in(home).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(seen) => return Ok(seen),
            Claim::New(slot) => slot,
        };
        check_staff(&mut tx, caller).await?;
        let home = home.ok_or(Error::ThreadNotFound)?;
        lock_support(&mut tx, home, thread_id).await?;
        auth::access::organization_stands(&mut tx, home)
            .await
            .map_err(|error| unseen(error, Error::ThreadNotFound))?;
        if auth::access::is_member(&mut tx, home, account_id).await? {
            return Err(Error::SupportsOwnOrganization);
        }
        if store::has_taken(&mut tx, home, thread_id, account_id).await? {
            let before = seen(&mut tx, home, thread_id, account_id).await?;
            self.keep_answer(tx, caller, key, &before).await?;
            return Ok(before);
        }
        let (actor, role) = (Actor::Account(account_id), ThreadRole::Support);
        let thread = store::advance(&mut tx, home, thread_id, self.world.now()).await?;
        let thread = thread.ok_or(Error::ThreadNotFound)?;
        self.admit(&mut tx, &thread, account_id, role, None).await?;
        self.note(&mut tx, &thread, actor, Change::MemberAdded { account_id, role })?;
        let after = seen(&mut tx, home, thread_id, account_id).await?;
        let entry = caller.entry("chat.take_support_thread").of(home).on("thread", thread_id);
        self.outside.auth.audit().record(&mut tx, entry).await?;
        slot.store(&mut tx, &after).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Closes a support thread, opens it again, or says how urgent it is.
    pub async fn update_support_thread(
        &self,
        caller: &Caller,
        thread_id: ThreadId,
        change: SupportChange,
        key: Option<&RequestKey>,
    ) -> Result<SeenThread, Error> {
        let account_id = caller.account()?;
        let home = self.locate_thread(thread_id).await?;
        let mut tx = self.begin_in(home).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(seen) => return Ok(seen),
            Claim::New(slot) => slot,
        };
        let place = home.map(|home| (home, thread_id));
        let home = admitted(&mut tx, caller, place, Error::ThreadNotFound).await?;
        let support = lock_support(&mut tx, home, thread_id).await?;
        let role = role_around(&mut tx, caller, home, thread_id).await?;
        let before = seen(&mut tx, home, thread_id, account_id).await?;
        let by_staff = before.seat.role == ThreadRole::Support;
        if change.priority.is_some() && !by_staff {
            return Err(Error::SupportStaffOnly);
        }
        if !by_staff && !before.seat.role.manages(role) {
            return Err(Error::ManagersOnly);
        }
        let now_it_is = support.changed(&change, self.world.now());
        if now_it_is == support {
            self.keep_answer(tx, caller, key, &before).await?;
            return Ok(before);
        }
        let thread = store::advance(&mut tx, home, thread_id, self.world.now()).await?;
        let thread = thread.ok_or(Error::ThreadNotFound)?;
        store::set_support(&mut tx, home, thread_id, &now_it_is).await?;
        let told = Change::SupportChanged { state: now_it_is.state, priority: now_it_is.priority };
        self.note(&mut tx, &thread, Actor::Account(account_id), told)?;
        let entry = caller.entry("chat.update_support_thread").of(home).on("thread", thread_id);
        let entry = entry.changed(&Told::from(support), &Told::from(now_it_is));
        self.outside.auth.audit().record(&mut tx, entry).await?;
        let after = seen(&mut tx, home, thread_id, account_id).await?;
        slot.store(&mut tx, &after).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Notes how it stands with a new thread, if it is one with the staff.
    pub(super) async fn begin_support(&self, tx: &mut Tx, thread: &Thread) -> Result<Option<Support>, Error> {
        if !thread.is_support() {
            return Ok(None);
        }
        let support = Support::new(thread.created_at);
        store::insert_support(tx, thread.organization_id, thread.id, &support).await?;
        Ok(Some(support))
    }

    /// Notes whom a thread waits for once a member with this role has written, if it is one with the staff. The thread
    /// is locked.
    pub(super) async fn note_turn(
        &self,
        tx: &mut Tx,
        thread: &Thread,
        role: ThreadRole,
    ) -> Result<(), Error> {
        if !thread.is_support() {
            return Ok(());
        }
        let (home, thread_id) = (thread.organization_id, thread.id);
        let Some(before) = store::support(tx, home, thread_id).await? else { return Ok(()) };
        let after = before.after_words_of(role, self.world.now());
        if after != before {
            store::set_support(tx, home, thread_id, &after).await?;
        }
        Ok(())
    }
}

/// Locks a support thread without taking a position in it, and tells how it stands.
async fn lock_support(tx: &mut Tx, home: OrganizationId, thread_id: ThreadId) -> Result<Support, Error> {
    if !store::lock_thread(tx, home, thread_id).await? {
        return Err(Error::ThreadNotFound);
    }
    store::support(tx, home, thread_id).await?.ok_or(Error::ThreadNotFound)
}

/// What the caller is in the organisation of a thread. Staff that took this very thread up are no more there than any
/// member, and let in to nothing else by it.
pub(super) async fn role_around(
    conn: &mut impl Conn,
    caller: &Caller,
    home: OrganizationId,
    thread_id: ThreadId,
) -> Result<OrganizationRole, Error> {
    match auth::access::member(conn, caller, home).await {
        Err(auth::Error::OrganizationNotFound) if serves(conn, caller, home, thread_id).await? => {
            Ok(OrganizationRole::Member)
        }
        known => Ok(known?),
    }
}

/// Whether the caller is staff, and took this very thread up.
async fn serves(
    conn: &mut impl Conn,
    caller: &Caller,
    home: OrganizationId,
    thread_id: ThreadId,
) -> Result<bool, Error> {
    // A program never is, whosever it is.
    if !caller.is_admin() {
        return Ok(false);
    }
    let account = caller.account()?;
    Ok(store::has_taken(conn, home, thread_id, account).await?
        && auth::access::administers(conn, account).await?)
}

/// That the caller is staff at this moment, and not only by their token.
async fn check_staff(conn: &mut impl Conn, caller: &Caller) -> Result<(), Error> {
    let account = caller.account()?;
    let stands = caller.is_admin() && auth::access::administers(conn, account).await?;
    if stands { Ok(()) } else { Err(auth::Error::NotAnAdministrator.into()) }
}

/// Tells with each support thread of a page how it stands.
pub(super) async fn fill_in(
    conn: &mut impl Conn,
    home: OrganizationId,
    threads: &mut [SeenThread],
) -> Result<(), Error> {
    let of_staff = threads.iter().map(|seen| &seen.thread).filter(|thread| thread.is_support());
    let ids: Vec<ThreadId> = of_staff.map(|thread| thread.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let known: HashMap<ThreadId, Support> = store::supports_of(conn, home, &ids).await?.into_iter().collect();
    for seen in threads {
        seen.support = known.get(&seen.thread.id).copied();
    }
    Ok(())
}

/// Those of the pairs that are of staff: the account took the thread up, and is staff still.
pub(in crate::chat) async fn serving_among(
    conn: &mut impl Conn,
    pairs: &[(ThreadId, AccountId)],
) -> Result<Vec<(ThreadId, AccountId)>, Error> {
    let taken = store::taken_among(conn, pairs).await?;
    let accounts: Vec<AccountId> = taken.iter().map(|(_, account)| *account).collect();
    let staff = auth::access::administrators_among(conn, &accounts).await?;
    Ok(taken.into_iter().filter(|(_, account)| staff.contains(account)).collect())
}
