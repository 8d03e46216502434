//! Which part of a conversation an agent's model is shown.

use std::borrow::Cow;

use super::{Actor, Message};

/// How much of a conversation is shown.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Messages at most.
    pub messages: usize,
    /// Characters at most. The newest message is shown whatever its length.
    pub chars: usize,
}

/// One side's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whether the agent speaks.
    pub agent: bool,
    /// What it says.
    pub text: String,
}

/// Picks from `newest_first` what fits the window, the newest messages first, and returns it oldest first. Neighbouring
/// messages of one side become one turn, and the first turn is a person's: models insist on both.
#[must_use]
pub fn window(newest_first: &[Message], window: Window) -> Vec<Turn> {
    let mut chars = 0_usize;
    let fitting = newest_first.iter().take(window.messages).enumerate().take_while(|(index, message)| {
        chars = chars.saturating_add(shown(message).chars().count());
        *index == 0 || chars <= window.chars
    });
    let mut picked: Vec<&Message> = fitting.map(|(_, message)| message).collect();
    picked.reverse();
    let mut turns: Vec<Turn> = Vec::new();
    for message in picked {
        let agent = matches!(message.author, Actor::Agent(_));
        match turns.last_mut() {
            None if agent => {}
            Some(last) if last.agent == agent => {
                last.text.push_str("\n\n");
                last.text.push_str(&shown(message));
            }
            _ => turns.push(Turn { agent, text: shown(message).into_owned() }),
        }
    }
    turns
}

/// A message in words: of its files the names and kinds, for the model cannot see more of them.
fn shown(message: &Message) -> Cow<'_, str> {
    if message.attachments.is_empty() {
        return Cow::Borrowed(&message.text);
    }
    let files = message.attachments.iter();
    let files = files.map(|file| format!("[attached file: {} ({})]", file.file_name, file.media_type));
    let lines: Vec<String> =
        std::iter::once(message.text.clone()).filter(|text| !text.is_empty()).chain(files).collect();
    Cow::Owned(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::base::{Id, Timestamp};

    fn message(seq: i64, agent: bool, text: &str) -> Message {
        let nobody = Uuid::nil();
        Message {
            id: Id::from_uuid(Uuid::from_u128(u128::try_from(seq).unwrap())),
            thread_id: Id::from_uuid(nobody),
            seq,
            author: if agent {
                Actor::Agent(Id::from_uuid(nobody))
            } else {
                Actor::Account(Id::from_uuid(nobody))
            },
            client_message_id: None,
            reply_to: None,
            text: text.to_owned(),
            attachments: Vec::new(),
            created_at: Timestamp::from_seconds(seq),
            edited_at: None,
            deleted_at: None,
        }
    }

    fn said(turns: &[Turn]) -> Vec<(bool, &str)> {
        turns.iter().map(|turn| (turn.agent, turn.text.as_str())).collect()
    }

    #[test]
    fn the_newest_messages_are_shown_oldest_first() {
        let thread: Vec<Message> = (1..=10).rev().map(|n| message(n, n % 2 == 0, &n.to_string())).collect();
        let turns = window(&thread, Window { messages: 3, chars: 100 });
        assert_eq!(said(&turns), [(false, "9"), (true, "10")], "8 was the agent's and came first");
    }

    #[test]
    fn a_bound_on_characters_keeps_the_newest_whatever_its_length() {
        let thread = [message(2, false, &"x".repeat(50)), message(1, false, "before")];
        let turns = window(&thread, Window { messages: 9, chars: 10 });
        assert_eq!(turns.len(), 1);
        assert_eq!(turns[0].text.len(), 50);
    }

    #[test]
    fn neighbours_of_one_side_become_one_turn() {
        let thread = [message(3, false, "c"), message(2, false, "b"), message(1, true, "a")];
        assert_eq!(said(&window(&thread, Window { messages: 9, chars: 99 })), [(false, "b\n\nc")]);
    }
}
