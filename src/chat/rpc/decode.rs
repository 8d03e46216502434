//! Reading what clients say.

use crate::base::{Secret, Violations, text};
use crate::chat::error::Error;
use crate::chat::model::account_feed::AccountCursor;
use crate::chat::model::frame::{ClientBody, ClientFrame, Opening, REQUEST_ID_CHARS_MAX, THREADS_MAX, Wish};
use crate::chat::model::member::{PreferenceChange, ThreadRole};
use crate::chat::model::presence::{PresenceMode, SubscriptionChange, watched};
use crate::chat::model::{self, Draft, Edit, Reaction, ThreadKind};
use crate::chat::service::UpdateThread;
use crate::chat::stream::Inbound;
use crate::proto::capecontrol::chat::v1 as wire;
use crate::rpc::decode as read;

/// The idempotency key of a message: the request's own, which the metadata may repeat or stand in for.
pub(super) fn message_key(violations: &mut Violations, own: &str, in_metadata: Option<&str>) -> String {
    let in_metadata = in_metadata.unwrap_or_default();
    if own.is_empty() {
        return in_metadata.to_owned();
    }
    violations.check(
        in_metadata.is_empty() || own.eq_ignore_ascii_case(in_metadata),
        "client_message_id",
        "must be the same as the metadata idempotency-key when both are given",
    );
    own.to_owned()
}

/// What a stream is to tell from its start.
pub(super) fn opening(
    violations: &mut Violations,
    threads: &[wire::ThreadCursor],
    watch: Option<&wire::PresenceWatch>,
    account: Option<wire::AccountCursor>,
) -> Opening {
    let read = |(index, cursor)| wish(violations, &format!("threads[{index}]."), cursor);
    let wishes: Vec<Option<Wish>> = threads.iter().enumerate().map(read).collect();
    Wish::check_all(violations, "threads", &wishes);
    let watch = watch.map(|watch| watched(violations, &watch.account_ids)).unwrap_or_default();
    let account = account.map(|at| AccountCursor::parse(violations, at.after_seq, at.epoch));
    Opening { follow: wishes.into_iter().flatten().collect(), watch, account }
}

fn wish(violations: &mut Violations, path: &str, cursor: &wire::ThreadCursor) -> Option<Wish> {
    let wire::ThreadCursor { thread_id, after_seq, epoch, newest } = cursor;
    Wish::parse(violations, path, (thread_id, *after_seq, *epoch, *newest))
}

/// A frame of a conversation.
pub(super) fn word(frame: wire::ClientFrame) -> Inbound {
    use wire::client_frame::Frame;
    let mut violations = Violations::new();
    let mut client_message_id = String::new();
    let wire::ClientFrame { mut request_id, frame } = frame;
    if request_id.chars().nth(REQUEST_ID_CHARS_MAX).is_some() {
        violations.add_hostile("request_id", format!("must have at most {REQUEST_ID_CHARS_MAX} characters"));
        request_id = String::new(); // it is not repeated
    }
    let body = match frame {
        Some(Frame::Hello(hello)) => {
            let wire::Hello { threads, watch_presence, account } = hello;
            let opening = opening(&mut violations, &threads, watch_presence.as_ref(), account);
            Some(ClientBody::Hello(opening))
        }
        Some(Frame::Subscribe(cursor)) => {
            wish(&mut violations, "subscribe.", &cursor).map(ClientBody::Subscribe)
        }
        Some(Frame::Unsubscribe(frame)) => {
            text::id(&mut violations, "unsubscribe.thread_id", &frame.thread_id).map(ClientBody::Unsubscribe)
        }
        Some(Frame::SendMessage(draft)) => {
            let read = self::draft(&mut violations, &draft);
            client_message_id = echo(draft.client_message_id);
            read.map(ClientBody::Send)
        }
        Some(Frame::Ack(ack)) => positions(&mut violations, &ack).map(ClientBody::Ack),
        Some(Frame::Pong(pong)) => Some(ClientBody::Pong(pong.nonce)),
        Some(Frame::EditMessage(edit)) => {
            Edit::parse(&mut violations, &edit.message_id, &edit.text).map(ClientBody::Edit)
        }
        Some(Frame::DeleteMessage(message)) => {
            text::id(&mut violations, "message_id", &message.message_id).map(ClientBody::Delete)
        }
        Some(Frame::AddReaction(reaction)) => {
            self::reaction(&mut violations, &reaction).map(ClientBody::AddReaction)
        }
        Some(Frame::RemoveReaction(reaction)) => {
            self::reaction(&mut violations, &reaction).map(ClientBody::RemoveReaction)
        }
        Some(Frame::Typing(notice)) => text::id(&mut violations, "typing.thread_id", &notice.thread_id)
            .map(|thread_id| ClientBody::Typing(thread_id, notice.typing)),
        Some(Frame::MarkRead(mark)) => text::id(&mut violations, "mark_read.thread_id", &mark.thread_id)
            .map(|thread_id| ClientBody::MarkRead(thread_id, mark.seq)),
        Some(Frame::WatchPresence(watch)) => {
            Some(ClientBody::Watch(watched(&mut violations, &watch.account_ids)))
        }
        Some(Frame::SetPresence(notice)) => {
            Some(ClientBody::Presence(presence_mode(&mut violations, notice.mode), notice.idle))
        }
        Some(Frame::Reauthenticate(renewal)) => {
            violations.check(
                !renewal.access_token.is_empty(),
                "reauthenticate.access_token",
                "must not be empty",
            );
            Some(ClientBody::Reauthenticate(Secret::new(renewal.access_token)))
        }
        None => {
            violations.add("frame", "must be one of the frames that this server knows");
            None
        }
    };
    match body {
        Some(body) if violations.is_empty() => Inbound::Frame(ClientFrame { request_id, body }),
        _ => Inbound::Refused { request_id, client_message_id, why: violations.into() },
    }
}

/// What a stream is to tell of from now on.
pub(super) fn subscription_change(
    violations: &mut Violations,
    request: &wire::UpdateSubscriptionRequest,
) -> SubscriptionChange {
    let read = |(index, cursor)| wish(violations, &format!("subscribe[{index}]."), cursor);
    let follow = request.subscribe.iter().take(THREADS_MAX + 1).enumerate().map(read).collect();
    let watch = request.watch_presence.as_ref().map(|watch| watch.account_ids.as_slice());
    SubscriptionChange::parse(violations, follow, &request.unsubscribe_thread_ids, watch)
}

/// What a person wants their presence to be; none leaves it as it is.
pub(super) fn presence_mode(violations: &mut Violations, mode: i32) -> Option<PresenceMode> {
    match wire::PresenceMode::try_from(mode) {
        Ok(wire::PresenceMode::Unspecified) => None,
        Ok(wire::PresenceMode::Automatic) => Some(PresenceMode::Automatic),
        Ok(wire::PresenceMode::DoNotDisturb) => Some(PresenceMode::DoNotDisturb),
        Ok(wire::PresenceMode::Invisible) => Some(PresenceMode::Invisible),
        Err(_) => {
            violations.add("mode", "must be a mode that this server knows");
            None
        }
    }
}

fn draft(violations: &mut Violations, draft: &wire::MessageDraft) -> Option<Draft> {
    let wire::MessageDraft { thread_id, client_message_id, text, reply_to_message_id, attachment_ids } =
        draft;
    Draft::parse(violations, thread_id, client_message_id, text, reply_to_message_id, attachment_ids)
}

fn reaction(violations: &mut Violations, reaction: &wire::MessageReaction) -> Option<Reaction> {
    Reaction::parse(violations, &reaction.message_id, &reaction.emoji)
}

/// A reaction, from a request that has nothing else.
pub(super) fn only_reaction(message_id: &str, emoji: &str) -> Result<Reaction, Error> {
    let mut violations = Violations::new();
    let reaction = Reaction::parse(&mut violations, message_id, emoji);
    violations.finish()?;
    reaction.ok_or(Error::Broken(None))
}

/// The kind of a new thread; none when it is not said.
pub(super) fn kind(violations: &mut Violations, kind: i32) -> Option<ThreadKind> {
    match wire::ThreadKind::try_from(kind) {
        Ok(wire::ThreadKind::Unspecified) => None,
        Ok(wire::ThreadKind::Direct) => Some(ThreadKind::Direct),
        Ok(wire::ThreadKind::Group) => Some(ThreadKind::Group),
        Ok(wire::ThreadKind::Agent) => Some(ThreadKind::Agent),
        Ok(wire::ThreadKind::Support) => Some(ThreadKind::Support),
        Err(_) => {
            violations.add("kind", "must be a kind that this server knows");
            None
        }
    }
}

/// The role of a new member; that of an ordinary one when it is not said.
pub(super) fn role(violations: &mut Violations, role: i32) -> ThreadRole {
    match wire::ThreadRole::try_from(role) {
        Ok(wire::ThreadRole::Unspecified | wire::ThreadRole::Member) => ThreadRole::Member,
        Ok(wire::ThreadRole::Owner) => ThreadRole::Owner,
        Ok(wire::ThreadRole::Reader) => ThreadRole::Reader,
        Ok(wire::ThreadRole::Support) => {
            violations.add_hostile(
                "role",
                "must be owner, member or reader; staff take a support thread up by themselves",
            );
            ThreadRole::Reader
        }
        Err(_) => {
            violations.add("role", "must be a role that this server knows");
            ThreadRole::Reader
        }
    }
}

/// What is to change about a thread: what the mask names, or a title that is filled in.
pub(super) fn update(violations: &mut Violations, request: wire::UpdateThreadRequest) -> UpdateThread {
    let thread_id = read::id(violations, "thread_id", &request.thread_id);
    let thread = request.thread.unwrap_or_default();
    let membership = thread.membership.unwrap_or_default();
    let mut paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() && !thread.title.is_empty() {
        paths.push("title".to_owned());
    }
    let (mut title, mut preferences) = (None, PreferenceChange::default());
    for path in paths {
        match path.as_str() {
            "title" => title = Some(thread.title.clone()),
            "membership.muted" => preferences.muted = Some(membership.muted),
            "membership.archived" => preferences.archived = Some(membership.archived),
            "membership.pinned" => preferences.pinned = Some(membership.pinned),
            _ => {
                let path: String = path.chars().take(64).collect();
                violations
                    .add("update_mask", format!("names `{path}`, which is not a field that can be changed"));
            }
        }
    }
    UpdateThread { thread_id, title, preferences, etag: request.etag }
}

/// A client's own id as it is repeated in a refusal: what is longer than a UUID is not repeated.
fn echo(client_message_id: String) -> String {
    if client_message_id.len() > REQUEST_ID_CHARS_MAX { String::new() } else { client_message_id }
}

fn positions(violations: &mut Violations, ack: &wire::AckCursors) -> Option<Vec<(model::ThreadId, i64)>> {
    let read = |(index, position): (usize, &wire::ThreadPosition)| {
        let thread_id =
            text::id(violations, &format!("ack.positions[{index}].thread_id"), &position.thread_id);
        thread_id.map(|thread_id| (thread_id, position.seq))
    };
    ack.positions.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Fault as _;
    use wire::client_frame::Frame;

    fn problems(frame: wire::ClientFrame) -> Vec<String> {
        match word(frame) {
            Inbound::Refused { why, .. } => {
                why.violations().iter().map(|violation| violation.field.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_wrong_frame_names_every_wrong_field() {
        let frame = |frame| wire::ClientFrame { request_id: "r".to_owned(), frame };
        assert_eq!(problems(frame(None)), ["frame"]);
        let cursor = wire::ThreadCursor { after_seq: -1, newest: 3, ..Default::default() };
        let expected = ["threads[0].thread_id", "threads[0].after_seq", "threads[0].newest"];
        assert_eq!(
            problems(frame(Some(Frame::Hello(wire::Hello {
                threads: vec![cursor],
                ..wire::Hello::default()
            })))),
            expected
        );
        let long =
            wire::ClientFrame { request_id: "x".repeat(65), frame: Some(Frame::Pong(wire::Pong::default())) };
        assert_eq!(problems(long), ["request_id"]);
    }

    #[test]
    fn the_key_of_a_message_may_come_in_metadata() {
        let mut violations = Violations::new();
        assert_eq!(message_key(&mut violations, "", Some("k")), "k");
        assert_eq!(message_key(&mut violations, "K", Some("k")), "K");
        assert!(violations.is_empty());
        message_key(&mut violations, "a", Some("b"));
        assert_eq!(violations.len(), 1);
    }
}
