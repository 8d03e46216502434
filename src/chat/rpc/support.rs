//! The wire of threads with the platform's support staff.

use tonic::{Request, Response, Status};

use super::{Rpc, encode};
use crate::base::Violations;
use crate::chat::model::ThreadId;
use crate::chat::model::support::{
    Support, SupportAfter, SupportChange, SupportPriority, SupportState, SupportThread,
};
use crate::chat::service::ListSupport;
use crate::proto::capecontrol::chat::v1 as wire;
use crate::rpc::encode::timestamp;
use crate::rpc::{self, decode as read};

const LIST_SUPPORT: &str = "chat.ListSupportThreads";

impl Rpc {
    pub(super) async fn support_threads(
        &self,
        request: Request<wire::ListSupportThreadsRequest>,
    ) -> Result<Response<wire::ListSupportThreadsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut violations = Violations::new();
        let state = read_state(&mut violations, request.state).unwrap_or(SupportState::Open);
        let priority = read_priority(&mut violations, request.priority);
        violations.finish()?;
        let (size, token, question) = (request.page_size, &request.page_token, (state, priority));
        let page = self.pages.open::<SupportAfter>(&caller, LIST_SUPPORT, &question, size, token)?;
        let wanted = ListSupport { state, priority };
        let mut threads = self.service.support_threads(&caller, wanted, page.after, page.probe()).await?;
        let place = |thread: &SupportThread| SupportAfter {
            since: thread.support.since,
            thread_id: thread.thread_id,
        };
        let next_page_token =
            self.pages.cut(&caller, LIST_SUPPORT, &question, page.size, &mut threads, place);
        let support_threads = threads.into_iter().map(thread).collect();
        Ok(Response::new(wire::ListSupportThreadsResponse { support_threads, next_page_token }))
    }

    pub(super) async fn take_support(
        &self,
        request: Request<wire::TakeSupportThreadRequest>,
    ) -> Result<Response<wire::TakeSupportThreadResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let thread_id = read::only_id("thread_id", &request.thread_id)?;
        let thread = self.service.take_support_thread(&caller, thread_id, key.as_deref()).await?;
        Ok(Response::new(wire::TakeSupportThreadResponse { thread: Some(encode::thread(thread)) }))
    }

    pub(super) async fn update_support(
        &self,
        request: Request<wire::UpdateSupportThreadRequest>,
    ) -> Result<Response<wire::UpdateSupportThreadResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut violations = Violations::new();
        let thread_id: ThreadId = read::id(&mut violations, "thread_id", &request.thread_id);
        let before = violations.len();
        let state = read_state(&mut violations, request.state);
        let priority = read_priority(&mut violations, request.priority);
        let change = SupportChange { state, priority };
        if violations.len() == before {
            change.check(&mut violations);
        }
        violations.finish()?;
        let thread = self.service.update_support_thread(&caller, thread_id, change, key.as_deref()).await?;
        Ok(Response::new(wire::UpdateSupportThreadResponse { thread: Some(encode::thread(thread)) }))
    }
}

fn thread(thread: SupportThread) -> wire::SupportThread {
    wire::SupportThread {
        thread_id: thread.thread_id.to_string(),
        organization_id: thread.organization_id.to_string(),
        created_by_account_id: thread.created_by.to_string(),
        title: thread.title,
        support: Some(status(thread.support)),
        staff_account_ids: thread.staff.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn status(support: Support) -> wire::SupportStatus {
    wire::SupportStatus {
        state: state(support.state).into(),
        priority: priority(support.priority).into(),
        state_time: Some(timestamp(support.since)),
    }
}

pub(super) const fn state(state: SupportState) -> wire::SupportState {
    match state {
        SupportState::Open => wire::SupportState::Open,
        SupportState::Waiting => wire::SupportState::Waiting,
        SupportState::Closed => wire::SupportState::Closed,
    }
}

pub(super) const fn priority(priority: SupportPriority) -> wire::SupportPriority {
    match priority {
        SupportPriority::Low => wire::SupportPriority::Low,
        SupportPriority::Normal => wire::SupportPriority::Normal,
        SupportPriority::High => wire::SupportPriority::High,
        SupportPriority::Urgent => wire::SupportPriority::Urgent,
    }
}

/// A state; none when it is not said.
fn read_state(violations: &mut Violations, state: i32) -> Option<SupportState> {
    match wire::SupportState::try_from(state) {
        Ok(wire::SupportState::Unspecified) => None,
        Ok(wire::SupportState::Open) => Some(SupportState::Open),
        Ok(wire::SupportState::Waiting) => Some(SupportState::Waiting),
        Ok(wire::SupportState::Closed) => Some(SupportState::Closed),
        Err(_) => {
            violations.add("state", "must be a state that this server knows");
            None
        }
    }
}

/// How urgent something is; none when it is not said.
fn read_priority(violations: &mut Violations, priority: i32) -> Option<SupportPriority> {
    match wire::SupportPriority::try_from(priority) {
        Ok(wire::SupportPriority::Unspecified) => None,
        Ok(wire::SupportPriority::Low) => Some(SupportPriority::Low),
        Ok(wire::SupportPriority::Normal) => Some(SupportPriority::Normal),
        Ok(wire::SupportPriority::High) => Some(SupportPriority::High),
        Ok(wire::SupportPriority::Urgent) => Some(SupportPriority::Urgent),
        Err(_) => {
            violations.add("priority", "must be a priority that this server knows");
            None
        }
    }
}
