//! The wire of searches.

use std::ops::Range;

use serde::Serialize;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, encode};
use crate::base::{Id, OrganizationId, Timestamp, Violations};
use crate::chat::error::Error;
use crate::chat::model::ThreadId;
use crate::chat::model::search::{Query, Snippet};
use crate::chat::service::{Found, SearchMessages};
use crate::chat::store::FoundBefore;
use crate::proto::capecontrol::chat::v1 as wire;
use crate::rpc::encode::timestamp;
use crate::rpc::{self, decode as read};

const SEARCH_MESSAGES: &str = "chat.SearchMessages";

/// What shapes a list: a page token is good for the same question only.
#[derive(Serialize)]
struct Question<'r> {
    organization_id: Option<OrganizationId>,
    query: &'r str,
    thread_id: Option<ThreadId>,
    author: Option<Uuid>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Rpc {
    pub(super) async fn search(
        &self,
        request: Request<wire::SearchMessagesRequest>,
    ) -> Result<Response<wire::SearchMessagesResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut violations = Violations::new();
        let command = command(&mut violations, &request);
        violations.finish()?;
        let Some(command) = command else { return Err(Error::Broken(None).into()) };
        let question = Question {
            organization_id: command.organization_id,
            query: &request.query,
            thread_id: command.thread_id,
            author: command.author,
            since: command.since,
            until: command.until,
        };
        let (size, token) = (request.page_size, &request.page_token);
        let page = self.pages.open::<FoundBefore>(&caller, SEARCH_MESSAGES, &question, size, token)?;
        let size = usize::try_from(page.size).unwrap_or(usize::MAX);
        let found = self.service.search(&caller, &command, page.after, size).await?;
        let next = found.next.map(|next| self.pages.seal(&caller, SEARCH_MESSAGES, &question, &next));
        Ok(Response::new(wire::SearchMessagesResponse {
            messages: found.found.into_iter().map(self::found).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }
}

fn command(violations: &mut Violations, request: &wire::SearchMessagesRequest) -> Option<SearchMessages> {
    let organization_id = read::optional_id(violations, "organization_id", &request.organization_id);
    let query = Query::parse(violations, "query", &request.query);
    let thread_id = read::optional_id(violations, "thread_id", &request.thread_id);
    let author = read::optional_id(violations, "author", &request.author).map(Id::<()>::uuid);
    let since = read::optional_time(violations, "start_time", request.start_time);
    let until = read::optional_time(violations, "end_time", request.end_time);
    Some(SearchMessages { organization_id, query: query?, thread_id, author, since, until })
}

fn found(found: Found) -> wire::FoundMessage {
    let Found { message, snippet } = found;
    wire::FoundMessage {
        message_id: message.id.to_string(),
        thread_id: message.thread_id.to_string(),
        seq: message.seq,
        author: Some(encode::actor(message.author)),
        create_time: Some(timestamp(message.created_at)),
        edit_time: message.edited_at.map(timestamp),
        snippet: Some(self::snippet(snippet)),
    }
}

fn snippet(snippet: Snippet) -> wire::Snippet {
    let place = |at: usize| i32::try_from(at).unwrap_or(i32::MAX);
    let range = |mark: Range<usize>| wire::TextRange { start: place(mark.start), end: place(mark.end) };
    wire::Snippet {
        text: snippet.text,
        marks: snippet.marks.into_iter().map(range).collect(),
        cut_before: snippet.cut_before,
        cut_after: snippet.cut_after,
    }
}
