//! Finding messages again.

use uuid::Uuid;

use super::Service;
use crate::auth::Caller;
use crate::base::{OrganizationId, Timestamp};
use crate::chat::error::Error;
use crate::chat::model::search::{Query, Snippet, found_by};
use crate::chat::model::{Message, ThreadId};
use crate::chat::store::{self, FoundBefore, Hunt};
use crate::db::{self, Scope, Session};

/// How many messages are read at a time and looked through.
const READ_AT_ONCE: i64 = 50;
/// How many times that is done for a page: a question that most messages nearly match must not go through all of them
/// in one call.
const READS_MAX: usize = 8;

/// What is looked for, and where.
#[derive(Clone, Debug)]
pub struct SearchMessages {
    /// The organisation; the caller's personal one when none.
    pub organization_id: Option<OrganizationId>,
    /// The question.
    pub query: Query,
    /// Only in this thread.
    pub thread_id: Option<ThreadId>,
    /// Only what this account or agent wrote.
    pub author: Option<Uuid>,
    /// Only from then on.
    pub since: Option<Timestamp>,
    /// Only before then.
    pub until: Option<Timestamp>,
}

/// A message, and where in it was found what was looked for.
#[derive(Clone, Debug)]
pub struct Found {
    /// The message.
    pub message: Message,
    /// The part of its text to show.
    pub snippet: Snippet,
}

/// A page of what was found.
#[derive(Clone, Debug)]
pub struct FoundPage {
    /// The newest first.
    pub found: Vec<Found>,
    /// Where the next page begins, when there may be one.
    pub next: Option<FoundBefore>,
}

impl Service {
    /// A page of messages that match, of those that the caller may see.
    pub async fn search(
        &self,
        caller: &Caller,
        command: &SearchMessages,
        before: Option<FoundBefore>,
        size: usize,
    ) -> Result<FoundPage, Error> {
        let account_id = caller.account()?;
        let home = self.organization(caller, command.organization_id).await?;
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        if let Some(thread_id) = command.thread_id {
            let member = store::member(&mut conn, home, thread_id, account_id).await?;
            member.ok_or(Error::ThreadNotFound)?;
        }
        let hunt = Hunt {
            account_id,
            thread_id: command.thread_id,
            author: command.author,
            since: command.since,
            until: command.until,
            span: command.query.span(),
            words: command.query.required().into_iter().map(str::to_owned).collect(),
        };
        let mut page = FoundPage { found: Vec::new(), next: before };
        for _ in 0..READS_MAX {
            if look_on(&mut conn, home, &hunt, &command.query, &mut page, size).await? {
                break;
            }
        }
        Ok(page)
    }

    /// Notes the words of some messages from before words were noted; how many there were.
    pub async fn make_searchable(&self, limit: i64) -> Result<u64, db::Error> {
        let mut tx = self.db.begin(Scope::System("chat.make_searchable")).await?;
        let mut count: u64 = 0;
        for (home, message_id) in store::unsearchable(&mut tx, limit).await? {
            count = count.saturating_add(1);
            if let Some(message) = store::message(&mut tx, home, message_id).await? {
                let words = found_by(&message.text);
                // Whoever edited it meanwhile has noted its words.
                store::delete_words(&mut tx, home, &message, words.clone()).await?;
                store::insert_words(&mut tx, home, &[(&message, &words)])?;
            }
            store::set_searchable(&mut tx, home, message_id).await?;
        }
        tx.commit().await?;
        Ok(count)
    }
}

/// Reads some messages that may match, and takes those that do. Whether the page is full or nothing is left.
async fn look_on(
    conn: &mut Session,
    home: OrganizationId,
    hunt: &Hunt,
    query: &Query,
    page: &mut FoundPage,
    size: usize,
) -> Result<bool, Error> {
    let messages = store::hunt(conn, home, hunt, page.next, READ_AT_ONCE).await?;
    let short = i64::try_from(messages.len()).is_ok_and(|count| count < READ_AT_ONCE);
    for message in messages {
        if page.found.len() >= size {
            return Ok(true);
        }
        page.next = Some(FoundBefore::of(&message));
        if let Some(marks) = query.find(&message.text) {
            let snippet = Snippet::around(&message.text, &marks);
            page.found.push(Found { message, snippet });
        }
    }
    if short {
        page.next = None;
    }
    Ok(short)
}
