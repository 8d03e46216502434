//! Opening threads, looking at them, and what becomes of them.

use super::account::SeatChange;
use super::{Service, admitted, conduct, not_held, support, unseen};
use crate::auth::{self, Caller};
use crate::base::{AccountId, OrganizationId, Violations, text};
use crate::chat::error::Error;
use crate::chat::model::member::{
    FIRST_MEMBERS_MAX, PreferenceChange, Preferences, Seat, SeenThread, ThreadRole,
};
use crate::chat::model::plan::Allowed;
use crate::chat::model::support::check_title;
use crate::chat::model::{Actor, Change, TITLE_CHARS_MAX, Thread, ThreadId, ThreadKind};
use crate::chat::removal::RemoveThread;
use crate::chat::store::{self, ThreadsAfter};
use crate::db::{Conn, Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};
use crate::jobs;
use crate::market::{self, InstalledAgent, ListingId};

/// Where an agent is met when nothing else is said.
pub(in crate::chat) const PLACEMENT: &str = "chat";

/// What whoever opens a thread is in it.
const OPENER: Seat = Seat {
    role: ThreadRole::Owner,
    read_seq: 0,
    unread: 0,
    preferences: Preferences { muted: false, archived: false, pinned: false },
};

/// A new thread.
#[derive(Clone, Debug, Default)]
pub struct CreateThread {
    /// The organisation; the caller's personal one when none.
    pub organization_id: Option<OrganizationId>,
    /// What kind it is to be; when none, what the rest says.
    pub kind: Option<ThreadKind>,
    /// What it is called: one line, at most [`TITLE_CHARS_MAX`] characters.
    pub title: String,
    /// The agent that is to answer in it.
    pub listing_id: Option<ListingId>,
    /// Where in a product the agent is met; [`PLACEMENT`] when empty.
    pub placement: String,
    /// Who is in it from the start, beside the caller.
    pub members: Vec<AccountId>,
}

impl CreateThread {
    /// Checks what came in, and notes everything that is wrong with it.
    ///
    /// # Errors
    /// All that is wrong, also what was noted before.
    pub fn check(mut self, mut violations: Violations) -> Result<Self, Violations> {
        self.title = text::optional_line(&mut violations, "title", &self.title, TITLE_CHARS_MAX);
        let kind = self.kind();
        let with_agent = self.listing_id.is_some();
        violations.check(
            with_agent == (kind == ThreadKind::Agent),
            "kind",
            "must be that of a thread with an agent exactly when listing_id names one",
        );
        violations.check(
            with_agent || self.placement.is_empty(),
            "placement",
            "must be empty in a thread without an agent",
        );
        if kind == ThreadKind::Direct {
            violations.check(self.members.len() == 1, "member_account_ids", "must name the one other person");
            violations.check(self.title.is_empty(), "title", "must be empty, for a direct thread has none");
        }
        if kind == ThreadKind::Support {
            check_title(&mut violations, &self.title);
        }
        if self.members.len() > FIRST_MEMBERS_MAX {
            violations.add("member_account_ids", format!("must be at most {FIRST_MEMBERS_MAX}"));
        }
        violations.finish().map(|()| self)
    }

    fn kind(&self) -> ThreadKind {
        let implied = if self.listing_id.is_some() { ThreadKind::Agent } else { ThreadKind::Group };
        self.kind.unwrap_or(implied)
    }

    /// Where the agent is met, if it is meant to be.
    fn placement(&self, agent: InstalledAgent) -> Result<String, Violations> {
        let wanted = if self.placement.is_empty() { PLACEMENT } else { &self.placement };
        if agent.placements.iter().any(|named| named == wanted) {
            return Ok(wanted.to_owned());
        }
        let says =
            format!("must be a placement that the agent's manifest names: {}", agent.placements.join(", "));
        Err(Violations::one("placement", says))
    }

    /// The two that a direct thread is between.
    fn between(&self, account: AccountId) -> Option<(AccountId, AccountId)> {
        let other = self.members.first().filter(|_| self.kind() == ThreadKind::Direct)?;
        Some((account, *other))
    }

    /// Who is in the thread from the start, each once.
    fn first_members(&self, account: AccountId) -> Result<Vec<(AccountId, ThreadRole)>, Violations> {
        let direct = self.kind() == ThreadKind::Direct;
        let role = if direct { ThreadRole::Owner } else { ThreadRole::Member };
        let mut members = vec![(account, ThreadRole::Owner)];
        for (index, member) in self.members.iter().enumerate() {
            if members.iter().any(|(known, _)| known == member) {
                let field = format!("member_account_ids[{index}]");
                return Err(Violations::one(field, "must be neither the caller nor named twice"));
            }
            members.push((*member, role));
        }
        Ok(members)
    }
}

/// What is to change about a thread.
#[derive(Clone, Debug)]
pub struct UpdateThread {
    /// The thread.
    pub thread_id: ThreadId,
    /// Its title, as it came.
    pub title: Option<String>,
    /// What the caller makes of it.
    pub preferences: PreferenceChange,
    /// The version that the caller has seen; empty for whichever it is.
    pub etag: String,
}

impl Service {
    /// Opens a thread, or finds the direct one that is there.
    pub async fn create_thread(
        &self,
        caller: &Caller,
        command: CreateThread,
        key: Option<&RequestKey>,
    ) -> Result<SeenThread, Error> {
        let account = caller.account()?;
        let members = command.first_members(account)?;
        let home = self.organization(caller, command.organization_id).await?;
        let allowed = self.allowed(Some(home)).await?.ok_or(Error::Broken(None))?;
        let mut tx = self.db.begin(Scope::Organization(home)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(seen) => return Ok(seen),
            Claim::New(slot) => slot,
        };
        if !command.members.is_empty() {
            let pairs: Vec<_> = command.members.iter().map(|member| (home, *member)).collect();
            if auth::store::memberships_among(&mut tx, &pairs).await?.len() < pairs.len() {
                return Err(Error::MemberNotFound);
            }
        }
        let placement = if let Some(listing_id) = command.listing_id {
            let agent = market::store::installed(&mut tx, home, listing_id).await?;
            Some(command.placement(agent.ok_or(Error::AgentNotInstalled)?)?)
        } else {
            None
        };
        let (thread, between) = (self.new_thread(account, home, &command), command.between(account));
        let seen = if store::insert_thread(&mut tx, &thread, between).await? {
            self.check_room(&mut tx, &thread, &allowed, members.len()).await?;
            store::insert_members(&mut tx, home, thread.id, &members, thread.created_at).await?;
            conduct::hear_each_other(&mut tx, &thread, account).await.map_err(unreached)?;
            conduct::may_reach(&mut tx, account, &command.members).await?;
            let joined = members.iter().map(|(member, _)| (*member, SeatChange::Joined)).collect();
            self.log_seats(&mut tx, &thread, joined).await?;
            let support = self.begin_support(&mut tx, &thread).await?;
            if let Some(placement) = &placement {
                store::set_placement(&mut tx, home, thread.id, placement).await?;
            }
            let entry = caller.entry("chat.create_thread").of(home).on("thread", thread.id);
            self.outside.auth.audit().record(&mut tx, entry.changed(&(), &thread)).await?;
            SeenThread { thread, seat: OPENER, support, placement }
        } else {
            direct_before(&mut tx, home, account, between).await?
        };
        slot.store(&mut tx, &seen).await?;
        tx.commit().await?;
        Ok(seen)
    }

    /// That the plan allows the thread that was just written. Of several that are opened in one moment some may be too
    /// many.
    async fn check_room(
        &self,
        tx: &mut Tx,
        thread: &Thread,
        allowed: &Allowed,
        members: usize,
    ) -> Result<(), Error> {
        let members = i64::try_from(members).unwrap_or(i64::MAX);
        allowed.check_members(members).map_err(Error::TooManyMembers)?;
        let enough = allowed.threads_max.saturating_add(1);
        let opened = store::count_opened(tx, thread.organization_id, thread.created_by, enough).await?;
        allowed.check_threads(opened).map_err(Error::TooManyThreads)
    }

    fn new_thread(&self, account: AccountId, home: OrganizationId, command: &CreateThread) -> Thread {
        let now = self.world.now();
        Thread {
            id: self.world.id(),
            organization_id: home,
            created_by: account,
            kind: command.kind(),
            title: command.title.clone(),
            listing_id: command.listing_id,
            last_seq: 0,
            epoch: 1,
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// Reads a thread.
    pub async fn thread(&self, caller: &Caller, thread_id: ThreadId) -> Result<SeenThread, Error> {
        let (mut conn, home) = self.session_of(caller, thread_id).await?;
        seen(&mut conn, home, thread_id, caller.account()?).await
    }

    /// A page of the caller's threads in an organisation, archived or not.
    pub async fn threads(
        &self,
        caller: &Caller,
        organization_id: Option<OrganizationId>,
        archived: bool,
        after: Option<ThreadsAfter>,
        limit: i64,
    ) -> Result<Vec<SeenThread>, Error> {
        let account = caller.account()?;
        let home = self.organization(caller, organization_id).await?;
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        let mut threads = store::threads(&mut conn, home, account, archived, after, limit).await?;
        support::fill_in(&mut conn, home, &mut threads).await?;
        Ok(threads)
    }

    /// Changes a thread's title, or what the caller makes of it.
    pub async fn update_thread(
        &self,
        caller: &Caller,
        command: UpdateThread,
        key: Option<&RequestKey>,
    ) -> Result<SeenThread, Error> {
        let account = caller.account()?;
        let title = command.title.as_deref().map(checked_title).transpose()?;
        let thread_id = command.thread_id;
        let home = self.locate_thread(thread_id).await?;
        let mut tx = self.begin_in(home).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(seen) => return Ok(seen),
            Claim::New(slot) => slot,
        };
        let home = home.ok_or(Error::ThreadNotFound)?;
        let managed = if title.is_some() {
            // Locks the thread, so that nothing comes between what is read and what is written.
            Some(self.manage(&mut tx, caller, home, thread_id).await?)
        } else {
            admitted(&mut tx, caller, Some((home, thread_id)), Error::ThreadNotFound).await?;
            None
        };
        let before = seen(&mut tx, home, thread_id, account).await?;
        check_etag(&command.etag, &before.thread)?;
        if let Some((thread, title)) = managed.zip(title) {
            store::rename_thread(&mut tx, home, thread_id, &title).await?;
            self.note(&mut tx, &thread, Actor::Account(account), Change::ThreadUpdated { title })?;
        }
        store::set_preferences(&mut tx, home, thread_id, account, command.preferences).await?;
        let after = seen(&mut tx, home, thread_id, account).await?;
        if after.seat.preferences != before.seat.preferences {
            self.log_seats(&mut tx, &after.thread, vec![(account, SeatChange::Changed)]).await?;
        }
        let entry = caller.entry("chat.update_thread").of(home).on("thread", thread_id);
        self.outside.auth.audit().record(&mut tx, entry.changed(&before, &after)).await?;
        slot.store(&mut tx, &after).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Deletes a thread for everybody. What is left of it a job removes.
    pub async fn delete_thread(
        &self,
        caller: &Caller,
        thread_id: ThreadId,
        etag: &str,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        let home = self.locate_thread(thread_id).await?;
        let mut tx = self.begin_in(home).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        let home = home.ok_or(Error::ThreadNotFound)?;
        let thread = self.manage(&mut tx, caller, home, thread_id).await?;
        check_etag(etag, &thread)?;
        not_held(&mut tx, home, self.world.now()).await?;
        self.close(&mut tx, &thread).await?;
        let entry = caller.entry("chat.delete_thread").of(home).on("thread", thread_id);
        self.outside.auth.audit().record(&mut tx, entry.changed(&thread, &())).await?;
        slot.store(&mut tx, &()).await?;
        self.doubt_after(&mut tx);
        Ok(tx.commit().await?)
    }

    /// Takes a thread away from everybody, and has what is left of it removed.
    pub(super) async fn close(&self, tx: &mut Tx, thread: &Thread) -> Result<(), Error> {
        let (organization_id, thread_id) = (thread.organization_id, thread.id);
        let gone = store::close_thread(tx, organization_id, thread_id, self.world.now()).await?;
        let left = gone.into_iter().map(|account| (account, SeatChange::Left)).collect();
        self.log_seats(tx, thread, left).await?;
        if thread.is_support() {
            store::delete_support(tx, organization_id, thread_id).await?;
        }
        let job = RemoveThread { organization_id, thread_id };
        Ok(jobs::push(tx, &self.world, Some(organization_id), &job).await?)
    }

    /// Locks a thread that the caller manages, and gives out its next position.
    pub(super) async fn manage(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        home: OrganizationId,
        thread_id: ThreadId,
    ) -> Result<Thread, Error> {
        let (thread, manages) = self.lock(tx, caller, home, thread_id).await?;
        if !manages {
            return Err(Error::ManagersOnly);
        }
        if thread.kind == ThreadKind::Direct { Err(Error::ThreadIsDirect) } else { Ok(thread) }
    }

    /// Locks a thread that the caller is a member of, and gives out its next position. Tells whether the caller manages
    /// it.
    pub(super) async fn lock(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        home: OrganizationId,
        thread_id: ThreadId,
    ) -> Result<(Thread, bool), Error> {
        let in_organization = match support::role_around(tx, caller, home, thread_id).await {
            Err(Error::Auth(error)) => return Err(unseen(error, Error::ThreadNotFound)),
            known => known?,
        };
        let thread = store::advance(tx, home, thread_id, self.world.now()).await?;
        let thread = thread.ok_or(Error::ThreadNotFound)?;
        let member = store::member(tx, home, thread_id, caller.account()?).await?;
        let member = member.ok_or(Error::ThreadNotFound)?;
        Ok((thread, member.role.manages(in_organization)))
    }
}

/// Whoever opens a direct thread cannot know yet that they may only read in it.
fn unreached(error: Error) -> Error {
    if matches!(error, Error::ReadOnly) { Error::MemberNotFound } else { error }
}

pub(super) async fn seen(
    conn: &mut impl Conn,
    home: OrganizationId,
    thread_id: ThreadId,
    account: AccountId,
) -> Result<SeenThread, Error> {
    let seen = store::seen_thread(conn, home, thread_id, account).await?;
    let mut seen = seen.ok_or(Error::ThreadNotFound)?;
    support::fill_in(conn, home, std::slice::from_mut(&mut seen)).await?;
    Ok(seen)
}

/// The direct thread that two people have already.
async fn direct_before(
    conn: &mut impl Conn,
    home: OrganizationId,
    account: AccountId,
    between: Option<(AccountId, AccountId)>,
) -> Result<SeenThread, Error> {
    let (one, other) = between.ok_or(Error::Broken(None))?;
    let found = store::direct_thread(conn, home, one, other).await?.ok_or(Error::ThreadNotFound)?;
    seen(conn, home, found, account).await
}

fn checked_title(title: &str) -> Result<String, Violations> {
    let mut violations = Violations::new();
    let title = text::optional_line(&mut violations, "thread.title", title, TITLE_CHARS_MAX);
    violations.finish().map(|()| title)
}

fn check_etag(etag: &str, thread: &Thread) -> Result<(), Error> {
    check_etag_of(etag, thread.version)
}

pub(super) fn check_etag_of(etag: &str, version: i64) -> Result<(), Error> {
    let same = etag.is_empty() || etag == auth::model::etag(version);
    if same { Ok(()) } else { Err(Error::EtagMismatch) }
}
