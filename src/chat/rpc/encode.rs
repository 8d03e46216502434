//! Writing what the server says.

use std::sync::Arc;
use std::time::Duration;

use super::{account, attachments, support};
use crate::auth::model::etag;
use crate::base::{AccountId, Code};
use crate::chat::model::feed::Notice;
use crate::chat::model::frame::{Ack, Delta, Frame, GoAway, Nack, THREADS_MAX, TYPING_SHOWN, Typing};
use crate::chat::model::member::{ReadPosition, SeenThread, ThreadMember, ThreadRole};
use crate::chat::model::presence::{Presence, Sighting};
use crate::chat::model::quality::Grade;
use crate::chat::model::tools::{Outcome, Problem, ToolUse};
use crate::chat::model::{Actor, Change, Event, Message, TEXT_CHARS_MAX, ThreadKind, TurnFailure};
use crate::chat::service::SeenMessage;
use crate::proto::capecontrol::chat::v1 as wire;
use crate::rpc::encode::{self, timestamp};
use crate::rpc::status;

pub(super) fn thread(seen: SeenThread) -> wire::Thread {
    let SeenThread { thread, seat, support, placement } = seen;
    wire::Thread {
        id: thread.id.to_string(),
        organization_id: thread.organization_id.to_string(),
        created_by_account_id: thread.created_by.to_string(),
        title: thread.title,
        listing_id: thread.listing_id.map(|id| id.to_string()).unwrap_or_default(),
        last_seq: thread.last_seq,
        epoch: thread.epoch,
        create_time: Some(timestamp(thread.created_at)),
        update_time: Some(timestamp(thread.updated_at)),
        kind: kind(thread.kind).into(),
        etag: etag(thread.version),
        membership: Some(wire::ThreadMembership {
            role: role(seat.role).into(),
            read_seq: seat.read_seq,
            unread_messages: count(seat.unread),
            muted: seat.preferences.muted,
            archived: seat.preferences.archived,
            pinned: seat.preferences.pinned,
        }),
        support: support.map(support::status),
        placement: placement.unwrap_or_default(),
    }
}

const fn kind(kind: ThreadKind) -> wire::ThreadKind {
    match kind {
        ThreadKind::Direct => wire::ThreadKind::Direct,
        ThreadKind::Group => wire::ThreadKind::Group,
        ThreadKind::Agent => wire::ThreadKind::Agent,
        ThreadKind::Support => wire::ThreadKind::Support,
    }
}

const fn role(role: ThreadRole) -> wire::ThreadRole {
    match role {
        ThreadRole::Owner => wire::ThreadRole::Owner,
        ThreadRole::Member => wire::ThreadRole::Member,
        ThreadRole::Reader => wire::ThreadRole::Reader,
        ThreadRole::Support => wire::ThreadRole::Support,
    }
}

pub(super) fn member(member: ThreadMember) -> wire::ThreadMember {
    wire::ThreadMember {
        account_id: member.account_id.to_string(),
        role: role(member.role).into(),
        join_time: Some(timestamp(member.created_at)),
        read_seq: member.read_seq,
    }
}

pub(super) fn seen_message(seen: SeenMessage) -> wire::Message {
    let reactions = seen.reactions.into_iter().map(|reaction| wire::ReactionCount {
        emoji: reaction.emoji,
        count: count(reaction.count),
        own: reaction.own > 0,
    });
    wire::Message { reactions: reactions.collect(), ..message(seen.message) }
}

pub(super) fn message(message: Message) -> wire::Message {
    wire::Message {
        id: message.id.to_string(),
        thread_id: message.thread_id.to_string(),
        seq: message.seq,
        author: Some(actor(message.author)),
        client_message_id: message.client_message_id.map(|id| id.to_string()).unwrap_or_default(),
        reply_to_message_id: message.reply_to.map(|id| id.to_string()).unwrap_or_default(),
        text: message.text,
        create_time: Some(timestamp(message.created_at)),
        edit_time: message.edited_at.map(timestamp),
        delete_time: message.deleted_at.map(timestamp),
        reactions: Vec::new(),
        attachments: message.attachments.into_iter().map(attachments::attached).collect(),
    }
}

pub(super) fn event(event: Event) -> wire::Event {
    wire::Event {
        thread_id: event.thread_id.to_string(),
        seq: event.seq,
        actor: Some(actor(event.actor)),
        create_time: Some(timestamp(event.at)),
        change: Some(change(event.change)),
    }
}

fn change(change: Change) -> wire::event::Change {
    use wire::event::Change as Wire;
    match change {
        Change::MessageCreated(created) => Wire::MessageCreated(message(created)),
        Change::AgentToolCalled(used) => Wire::AgentToolCalled(tool_called(used)),
        Change::AgentTurnFailed { message_id, reason } => Wire::AgentTurnFailed(wire::AgentTurnFailed {
            message_id: message_id.to_string(),
            reason: failure(reason).to_owned(),
        }),
        Change::MessageEdited { message_id, text, deleted } => {
            Wire::MessageEdited(wire::MessageEdited { message_id: message_id.to_string(), text, deleted })
        }
        Change::MessageDeleted { message_id } => {
            Wire::MessageDeleted(wire::MessageDeleted { message_id: message_id.to_string() })
        }
        Change::ReactionAdded { message_id, emoji } => {
            Wire::ReactionAdded(wire::Reaction { message_id: message_id.to_string(), emoji })
        }
        Change::ReactionRemoved { message_id, emoji } => {
            Wire::ReactionRemoved(wire::Reaction { message_id: message_id.to_string(), emoji })
        }
        Change::MemberAdded { account_id, role } => Wire::MemberAdded(member_changed(account_id, role)),
        Change::MemberRoleChanged { account_id, role } => {
            Wire::MemberRoleChanged(member_changed(account_id, role))
        }
        Change::MemberRemoved { account_id } => {
            Wire::MemberRemoved(wire::MemberRemoved { account_id: account_id.to_string() })
        }
        Change::ThreadUpdated { title } => Wire::ThreadUpdated(wire::ThreadUpdated { title }),
        Change::SupportChanged { state, priority } => Wire::SupportChanged(wire::SupportChanged {
            state: support::state(state).into(),
            priority: support::priority(priority).into(),
        }),
        Change::AttachmentSettled { message_id, attachment_id, refused } => {
            Wire::AttachmentSettled(wire::AttachmentSettled {
                message_id: message_id.to_string(),
                attachment_id: attachment_id.to_string(),
                refused,
            })
        }
        Change::ReceiptsMoved { positions } => {
            let position = |position: ReadPosition| wire::ReadPosition {
                account_id: position.account_id.to_string(),
                seq: position.read_seq,
            };
            Wire::ReceiptsMoved(wire::ReceiptsMoved {
                positions: positions.into_iter().map(position).collect(),
            })
        }
    }
}

const fn failure(reason: TurnFailure) -> &'static str {
    match reason {
        TurnFailure::NotInstalled => "AGENT_NOT_INSTALLED",
        TurnFailure::Unavailable => "AGENT_UNAVAILABLE",
        TurnFailure::NoAnswer => "AGENT_GAVE_NO_ANSWER",
        TurnFailure::MessageDeleted => "MESSAGE_DELETED",
    }
}

fn member_changed(account_id: AccountId, role: ThreadRole) -> wire::MemberChanged {
    wire::MemberChanged { account_id: account_id.to_string(), role: self::role(role).into() }
}

fn tool_called(used: ToolUse) -> wire::AgentToolCalled {
    use wire::agent_tool_called::Outcome as Wire;
    let problem = |problem: Problem| wire::ToolProblem { reason: problem.reason, message: problem.message };
    let outcome = match used.outcome {
        Outcome::Result(content) => Wire::Result(content),
        Outcome::Refused(refused) => Wire::Refused(problem(refused)),
        Outcome::Failed(failed) => Wire::Failed(problem(failed)),
    };
    wire::AgentToolCalled {
        message_id: used.message_id.to_string(),
        round: i32::try_from(used.round).unwrap_or(i32::MAX),
        position: i32::try_from(used.position).unwrap_or(i32::MAX),
        tool: used.tool,
        arguments: used.arguments,
        outcome: Some(outcome),
    }
}

pub(super) fn actor(actor: Actor) -> wire::Actor {
    let actor = match actor {
        Actor::Account(id) => wire::actor::Actor::AccountId(id.to_string()),
        Actor::Agent(id) => wire::actor::Actor::ListingId(id.to_string()),
    };
    wire::Actor { actor: Some(actor) }
}

pub(super) fn frame(frame: Frame) -> wire::ServerFrame {
    use wire::server_frame::Frame as Wire;
    let frame = match frame {
        Frame::Welcome { connection_id, heartbeat, at } => Wire::Welcome(wire::Welcome {
            connection_id: connection_id.to_string(),
            heartbeat_interval: Some(encode::duration(heartbeat)),
            threads_max: bound(THREADS_MAX),
            text_characters_max: bound(TEXT_CHARS_MAX),
            server_time: Some(timestamp(at)),
        }),
        Frame::Notice(notice) => self::notice(notice),
        Frame::Account(notice) => account::notice(notice),
        Frame::Delta(delta) => Wire::Ephemeral(ephemeral(&delta)),
        Frame::Typing(typing) => Wire::Ephemeral(self::typing(typing)),
        Frame::Ack(ack) => Wire::Ack(self::ack(ack)),
        Frame::Nack(nack) => Wire::Nack(self::nack(nack)),
        Frame::Heartbeat { at, nonce, heads, account, round_trip, queued, grade } => {
            Wire::Heartbeat(wire::Heartbeat {
                server_time: Some(timestamp(at)),
                nonce,
                heads: heads
                    .into_iter()
                    .map(|(thread_id, cursor)| wire::ThreadHead {
                        thread_id: thread_id.to_string(),
                        sent_seq: cursor.sent,
                        acked_seq: cursor.acked,
                    })
                    .collect(),
                round_trip: round_trip.map(encode::duration),
                queue_depth: bound(queued),
                quality: self::grade(grade).into(),
                account_seq: account.unwrap_or_default(),
            })
        }
        Frame::Presence(changes) => {
            Wire::Presence(wire::PresenceChanged { people: changes.into_iter().map(person).collect() })
        }
        Frame::Detached(thread_id) => Wire::Detached(wire::Detached { thread_id: thread_id.to_string() }),
        Frame::GoAway { code, reconnect_after } => Wire::GoAway(go_away(code, reconnect_after)),
    };
    wire::ServerFrame { frame: Some(frame) }
}

const fn grade(grade: Option<Grade>) -> wire::ConnectionQuality {
    match grade {
        None => wire::ConnectionQuality::Unspecified,
        Some(Grade::Good) => wire::ConnectionQuality::Good,
        Some(Grade::Fair) => wire::ConnectionQuality::Fair,
        Some(Grade::Poor) => wire::ConnectionQuality::Poor,
    }
}

fn person(sighting: Sighting) -> wire::PersonPresence {
    let presence = match sighting.presence {
        Presence::Online => wire::Presence::Online,
        Presence::Idle => wire::Presence::Idle,
        Presence::DoNotDisturb => wire::Presence::DoNotDisturb,
        Presence::Offline => wire::Presence::Offline,
    };
    wire::PersonPresence { account_id: sighting.account.to_string(), presence: presence.into() }
}

fn notice(notice: Notice) -> wire::server_frame::Frame {
    use wire::server_frame::Frame as Wire;
    match notice {
        Notice::CatchUp { thread_id, from, to, reset, epoch } => Wire::CatchUp(wire::CatchUp {
            thread_id: thread_id.to_string(),
            from_seq: from,
            to_seq: to,
            reset,
            epoch,
        }),
        Notice::Event(event) => Wire::Event(self::event(Arc::unwrap_or_clone(event))),
        Notice::Live { thread_id, seq, epoch } => {
            Wire::Live(wire::Live { thread_id: thread_id.to_string(), seq, epoch })
        }
    }
}

fn typing(typing: Typing) -> wire::Ephemeral {
    let shown = if typing.typing { TYPING_SHOWN } else { Duration::ZERO };
    let passing = wire::ephemeral::Passing::Typing(wire::Typing {
        account_id: typing.account_id.to_string(),
        expire_after: Some(encode::duration(shown)),
    });
    wire::Ephemeral { thread_id: typing.thread_id.to_string(), passing: Some(passing) }
}

fn ephemeral(delta: &Delta) -> wire::Ephemeral {
    let passing = wire::ephemeral::Passing::AgentDelta(wire::AgentDelta {
        message_id: delta.message_id.to_string(),
        reply_to_message_id: delta.reply_to.to_string(),
        attempt: i32::try_from(delta.attempt).unwrap_or(i32::MAX),
        offset: i64::try_from(delta.offset).unwrap_or(i64::MAX),
        text: delta.text.clone(),
    });
    wire::Ephemeral { thread_id: delta.thread_id.to_string(), passing: Some(passing) }
}

fn ack(ack: Ack) -> wire::Ack {
    wire::Ack {
        request_id: ack.request_id,
        thread_id: ack.thread_id.map(|id| id.to_string()).unwrap_or_default(),
        client_message_id: ack.client_message_id.map(|id| id.to_string()).unwrap_or_default(),
        message_id: ack.message_id.map(|id| id.to_string()).unwrap_or_default(),
        seq: ack.seq,
        duplicate: ack.duplicate,
    }
}

fn nack(nack: Nack) -> wire::Nack {
    let retryable = matches!(
        nack.reason.code,
        Code::Unavailable | Code::Aborted | Code::ResourceExhausted | Code::DeadlineExceeded
    );
    let violations = nack
        .violations
        .into_iter()
        .map(|violation| wire::NackViolation { field: violation.field, description: violation.description });
    wire::Nack {
        request_id: nack.request_id,
        client_message_id: nack.client_message_id,
        code: status::wire(nack.reason.code).into(),
        reason: nack.reason.name.to_owned(),
        message: nack.message,
        violations: violations.collect(),
        retryable,
        retry_after: nack.retry_after.map(encode::duration),
    }
}

fn go_away(code: GoAway, reconnect_after: Duration) -> wire::GoAway {
    let (code, resume) = match code {
        GoAway::Draining => (wire::GoAwayCode::Draining, true),
        GoAway::Slow => (wire::GoAwayCode::Slow, true),
        GoAway::Unauthenticated => (wire::GoAwayCode::Unauthenticated, true),
        GoAway::Detached => (wire::GoAwayCode::Detached, false),
        GoAway::Failed => (wire::GoAwayCode::Failed, true),
    };
    wire::GoAway { code: code.into(), resume, reconnect_after: Some(encode::duration(reconnect_after)) }
}

fn bound(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

pub(super) fn count(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
