//! What the server says on a stream, and what becomes of messages.

use super::{GOODBYE_MS, HEARTBEAT_MS_MIN, Machine, State, Turn};
use crate::chat::cursors::{Cursors, Heard};
use crate::chat::verdict::{self, Verdict};
use crate::chat::words::{
    ClientMessageId, Command, Frame, GoAway, Own, Receipt, Refusal, ThreadId, Transport, Word,
};

/// The reason of a thread that may no longer be seen, as a call would say it.
const NOT_FOUND: &str = "NOT_FOUND";

impl Machine {
    /// Nothing is said before Welcome or after GoAway.
    pub(super) fn frame(&mut self, turn: &mut Turn, frame: Frame) {
        match (self.state, frame) {
            (State::Connecting, Frame::Welcome { heartbeat_interval, .. }) => {
                self.welcome(turn, heartbeat_interval);
            }
            (State::CatchingUp | State::Live, frame) => {
                self.hear(turn.now);
                self.told(turn, frame);
            }
            _ => {}
        }
    }

    fn welcome(&mut self, turn: &mut Turn, heartbeat_interval: u64) {
        self.heartbeat_ms = heartbeat_interval.max(HEARTBEAT_MS_MIN);
        self.silence_ms = self.heartbeat_ms.saturating_mul(5) / 2;
        self.heard_at = turn.now;
        self.enter(turn.now, State::CatchingUp);
        self.flush(turn);
    }

    fn hear(&mut self, now: u64) {
        let silence = now.saturating_sub(self.heard_at);
        if silence.saturating_mul(2) > self.heartbeat_ms.saturating_mul(3) {
            self.quality.missed(now);
        }
        self.heard_at = now;
    }

    fn told(&mut self, turn: &mut Turn, frame: Frame) {
        match frame {
            Frame::CatchUp { thread, from, reset, epoch, .. } => {
                self.catch_up(turn, thread, from, reset, epoch);
            }
            Frame::Event { thread, seq, own } => self.event(turn, thread, seq, own),
            Frame::Live { thread, seq, epoch } => match self.cursors.live(&thread, seq, epoch) {
                Heard::Lost => self.abandon(turn),
                _ => self.look(turn),
            },
            Frame::Ack(receipt) => self.acked(turn, receipt),
            Frame::Nack(refusal) => self.nacked(turn, &refusal),
            Frame::Heartbeat { nonce, heads, account, round_trip } => {
                self.beat(turn, nonce, (&heads, account), round_trip);
            }
            Frame::AccountSnapshot { .. } | Frame::AccountEvent { .. } | Frame::AccountLive { .. } => {
                self.told_account(turn, &frame);
            }
            Frame::Detached { thread } => self.detach(turn, thread, NOT_FOUND),
            Frame::GoAway(go_away) => self.go_away(turn, go_away),
            Frame::Welcome { .. } | Frame::Other => {}
        }
    }

    /// What is told of the account's log; nothing, where nobody asked for it.
    fn told_account(&mut self, turn: &mut Turn, frame: &Frame) {
        let Some(account) = &mut self.account else { return };
        let heard = match *frame {
            Frame::AccountSnapshot { seq, epoch } => {
                account.snapshot(seq, epoch);
                turn.say(Command::ResetAccount { seq });
                Heard::Apply
            }
            Frame::AccountEvent { seq, epoch } => {
                let heard = account.event(seq, epoch);
                if heard == Heard::Apply {
                    turn.say(Command::DeliverAccount { seq });
                }
                heard
            }
            Frame::AccountLive { seq, epoch } => account.live(seq, epoch),
            _ => return,
        };
        if heard == Heard::Lost { self.abandon(turn) } else { self.look(turn) }
    }

    fn catch_up(&mut self, turn: &mut Turn, thread: ThreadId, from: i64, reset: bool, epoch: i64) {
        match self.cursors.catch_up(&thread, from, reset, epoch) {
            Heard::Lost => self.abandon(turn),
            heard => {
                if heard == Heard::Apply {
                    turn.say(Command::Reset { thread });
                }
                self.look(turn);
            }
        }
    }

    fn event(&mut self, turn: &mut Turn, thread: ThreadId, seq: i64, own: Option<Own>) {
        let heard = self.cursors.event(&thread, seq);
        match heard {
            Heard::Unknown => return,
            Heard::Lost => return self.abandon(turn),
            Heard::Apply | Heard::Noted => {}
        }
        // First what became of the message, so that the event finds its place when it is delivered.
        if let Some(Own { client_message_id, message_id }) = own {
            self.confirm(turn, Receipt { client_message_id, message_id, seq, duplicate: false });
        }
        if heard == Heard::Apply {
            if self.transport == Transport::Converse {
                self.acks.note(turn.now, &thread);
            }
            turn.say(Command::Deliver { thread, seq });
            self.acknowledge(turn);
        }
    }

    /// Acknowledges what was delivered, if it is time.
    pub(super) fn acknowledge(&mut self, turn: &mut Turn) {
        let Some(threads) = self.acks.due(turn.now) else { return };
        let positions: Vec<_> =
            threads.into_iter().filter_map(|thread| position(&self.cursors, thread)).collect();
        if !positions.is_empty() {
            turn.say(Command::SendFrame(Word::Ack(positions)));
        }
    }

    fn beat(
        &mut self,
        turn: &mut Turn,
        nonce: i64,
        (heads, account): (&[(ThreadId, i64)], i64),
        round_trip: Option<u64>,
    ) {
        if let Some(took) = round_trip {
            self.quality.round_trip(turn.now, took);
        }
        let lacks = self.account.is_some_and(|own| own.lacks(account));
        if lacks || self.cursors.lack(heads) {
            self.abandon(turn);
        } else if self.transport == Transport::Converse {
            turn.say(Command::SendFrame(Word::Pong { nonce }));
        }
    }

    fn go_away(&mut self, turn: &mut Turn, go_away: GoAway) {
        self.go_away = Some(go_away);
        self.silence_ms = GOODBYE_MS;
        self.enter(turn.now, State::Closing);
    }

    fn detach(&mut self, turn: &mut Turn, thread: ThreadId, reason: &str) {
        let told = self.cursors.follows(&thread);
        if !self.cursors.forget(&thread) {
            return;
        }
        for client_message_id in self.outbox.drop_thread(&thread) {
            turn.say(Command::Failed { client_message_id, reason: reason.to_owned() });
        }
        if told {
            turn.say(Command::Detached { thread, reason: reason.to_owned() });
        }
        self.look(turn);
    }

    /// A message was carried out, as an answer says.
    pub(super) fn acked(&mut self, turn: &mut Turn, receipt: Receipt) {
        if let Some(sent_at) = self.confirm(turn, receipt) {
            self.quality.round_trip(turn.now, turn.now.saturating_sub(sent_at));
        }
    }

    /// Settles a message that was written, unless that is known already. Returns when it was sent.
    fn confirm(&mut self, turn: &mut Turn, receipt: Receipt) -> Option<u64> {
        let settled = self.outbox.settle(&receipt.client_message_id)?;
        turn.say(Command::Confirmed(receipt));
        self.go_on(turn, &settled.thread);
        settled.sent_at
    }

    /// A message or a thread to follow was refused.
    pub(super) fn nacked(&mut self, turn: &mut Turn, refusal: &Refusal) {
        let id = ClientMessageId(refusal.request_id.clone());
        let reason = &refusal.status.reason;
        // Whoever has to refresh the token or sign in says it again afterwards: the end of the stream leads there.
        let again = refusal.retryable
            || matches!(verdict::judge(&refusal.status, None), Verdict::Refresh | Verdict::SignIn);
        if again && self.outbox.rest(&id, turn.now, refusal.status.retry_after, turn.random) {
            return;
        }
        if let Some(settled) = self.outbox.settle(&id) {
            turn.say(Command::Failed { client_message_id: id, reason: reason.clone() });
            return self.go_on(turn, &settled.thread);
        }
        let thread = ThreadId(refusal.request_id.clone());
        if !self.state.is_connected() || self.cursors.start(&thread).is_none() {
            return;
        }
        if again { self.abandon(turn) } else { self.detach(turn, thread, reason) }
    }

    /// After a message was settled: the next one of its thread, or the thread's end if it only waited for that.
    fn go_on(&mut self, turn: &mut Turn, thread: &ThreadId) {
        if self.cursors.is_muted(thread) && !self.outbox.has(thread) {
            self.leave(turn, thread);
        }
        self.flush(turn);
    }
}

fn position(cursors: &Cursors, thread: ThreadId) -> Option<(ThreadId, i64)> {
    let seq = cursors.start(&thread)?.seq()?;
    Some((thread, seq))
}
