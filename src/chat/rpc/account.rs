//! Writing what a stream says of its caller's own log.

use super::encode::count;
use crate::account_log::{Change, Entry, ThreadUnread, Unread};
use crate::base::OrganizationId;
use crate::chat::model::account_feed::AccountNotice;
use crate::proto::capecontrol::chat::v1 as wire;
use crate::rpc::encode::timestamp;

pub(super) fn notice(notice: AccountNotice) -> wire::server_frame::Frame {
    use wire::server_frame::Frame as Wire;
    match notice {
        AccountNotice::Snapshot { seq, epoch, unread } => {
            Wire::AccountSnapshot(wire::AccountSnapshot { seq, epoch, unread: Some(totals(unread)) })
        }
        AccountNotice::Entry(entry) => Wire::AccountEvent(event(entry)),
        AccountNotice::Live { seq, epoch } => Wire::AccountLive(wire::AccountLive { seq, epoch }),
    }
}

fn event(entry: Entry) -> wire::AccountEvent {
    let Entry { seq, epoch, at, change } = entry;
    wire::AccountEvent { seq, epoch, create_time: Some(timestamp(at)), change: change.map(self::change) }
}

fn change(change: Change) -> wire::account_event::Change {
    use wire::account_event::Change as Wire;
    match change {
        Change::ThreadJoined { organization_id, thread_id } => {
            Wire::ThreadJoined(thread(organization_id, thread_id))
        }
        Change::ThreadChanged { organization_id, thread_id } => {
            Wire::ThreadChanged(thread(organization_id, thread_id))
        }
        Change::ThreadLeft { organization_id, thread_id } => {
            Wire::ThreadLeft(thread(organization_id, thread_id))
        }
        Change::OrganizationJoined { organization_id } => {
            Wire::OrganizationJoined(organization(organization_id))
        }
        Change::OrganizationLeft { organization_id } => Wire::OrganizationLeft(organization(organization_id)),
        Change::InvitationReceived { organization_id, organization_name, invitation_id, expires_at } => {
            Wire::InvitationReceived(wire::InvitationReceived {
                invitation_id: invitation_id.to_string(),
                organization_id: organization_id.to_string(),
                organization_name,
                expire_time: Some(timestamp(expires_at)),
            })
        }
        Change::InvitationEnded { organization_id, invitation_id } => {
            Wire::InvitationEnded(wire::InvitationEnded {
                invitation_id: invitation_id.to_string(),
                organization_id: organization_id.to_string(),
            })
        }
        Change::UnreadChanged(unread) => Wire::UnreadChanged(totals(unread)),
    }
}

fn thread(organization_id: OrganizationId, thread_id: uuid::Uuid) -> wire::ThreadSeat {
    wire::ThreadSeat { organization_id: organization_id.to_string(), thread_id: thread_id.to_string() }
}

fn organization(organization_id: OrganizationId) -> wire::OrganizationSeat {
    wire::OrganizationSeat { organization_id: organization_id.to_string() }
}

fn totals(unread: Unread) -> wire::UnreadTotals {
    let thread = |thread: ThreadUnread| wire::ThreadUnread {
        organization_id: thread.organization_id.to_string(),
        thread_id: thread.thread_id.to_string(),
        messages: count(thread.messages),
    };
    wire::UnreadTotals {
        threads: count(unread.threads),
        messages: count(unread.messages),
        unread: unread.of.into_iter().map(thread).collect(),
    }
}
