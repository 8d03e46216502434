//! A thread as a file: lines of JSON that somebody can keep, and tell whether they have all of it.
//!
//! The first line is the thread, then come its members and its events in order, and the last line counts the lines
//! before it and has their digest. The names are those of the stored events. They never change their meaning.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::member::ThreadMember;
use super::{Event, Thread};

/// The version of the form.
const FORM: u32 = 1;

/// A line.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'l> {
    Thread {
        form: u32,
        /// The position of the last event that is in the export.
        up_to_seq: i64,
        thread: &'l Thread,
    },
    Member(&'l ThreadMember),
    Event(&'l Event),
    End {
        lines: u64,
        events: u64,
        sha256: String,
    },
}

/// What has been written so far.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    lines: u64,
    events: u64,
    digest: Sha256,
}

impl Writer {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The line of the thread.
    pub fn thread(&mut self, thread: &Thread) -> Vec<u8> {
        let line = Line::Thread { form: FORM, up_to_seq: thread.last_seq, thread };
        self.write(&line)
    }

    /// The lines of members.
    pub fn members(&mut self, members: &[ThreadMember]) -> Vec<u8> {
        members.iter().flat_map(|member| self.write(&Line::Member(member))).collect()
    }

    /// The lines of events.
    pub fn events(&mut self, events: &[Event]) -> Vec<u8> {
        self.events = self.events.saturating_add(u64::try_from(events.len()).unwrap_or(u64::MAX));
        events.iter().flat_map(|event| self.write(&Line::Event(event))).collect()
    }

    /// The last line.
    #[must_use]
    pub fn end(self) -> Vec<u8> {
        let sha256 = self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        text(&Line::End { lines: self.lines, events: self.events, sha256 })
    }

    fn write(&mut self, line: &Line<'_>) -> Vec<u8> {
        let written = text(line);
        self.lines = self.lines.saturating_add(1);
        self.digest.update(&written);
        written
    }
}

fn text(line: &Line<'_>) -> Vec<u8> {
    // Plain values; their JSON cannot fail.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}
