//! What people do about others who behave badly: hear nothing more from them, and report what they wrote.

use serde::{Deserialize, Serialize};

use super::{Actor, Message, MessageId, ThreadId};
use crate::base::{AccountId, Id, OrganizationId, Timestamp, Violations, text};
use crate::db;

/// How many people an account may block.
pub const BLOCKS_MAX: i64 = 1_000;
/// The longest comment on a report, in characters.
pub const COMMENT_CHARS_MAX: usize = 1_000;
/// The longest account of what came of a report, in characters.
pub const RESOLUTION_CHARS_MAX: usize = 500;

/// The id of a report.
pub type ReportId = Id<Report>;

/// Somebody whom an account wants to hear nothing from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, db::Row)]
pub struct Block {
    /// Who is not heard.
    pub account_id: AccountId,
    /// Since when.
    pub created_at: Timestamp,
}

db::words! {
    /// What is wrong with a message that is reported.
    pub enum ReportReason {
        /// Nobody asked for it, and many get it.
        Spam = "spam",
        /// It is meant to hurt somebody.
        Harassment = "harassment",
        /// It is against people for what they are.
        Hate = "hate",
        /// It threatens, or praises violence.
        Violence = "violence",
        /// It is sexual where it should not be.
        Sexual = "sexual",
        /// It is against the law.
        Illegal = "illegal",
        /// As the comment says.
        Other = "other",
    }
}

/// A report of a message, with the text as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The id.
    pub id: ReportId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Where it was written.
    pub thread_id: ThreadId,
    /// The message, which may be gone by now.
    pub message_id: MessageId,
    /// Who wrote it.
    pub author: Actor,
    /// Its text as the reporter saw it.
    pub text: String,
    /// Who reported it.
    pub reporter_id: AccountId,
    /// What is wrong with it.
    pub reason: ReportReason,
    /// What the reporter says about it; may be empty.
    pub comment: String,
    /// When.
    pub created_at: Timestamp,
    /// What came of it, and when; none while it is open.
    pub resolution: Option<(Timestamp, String)>,
}

/// What somebody says about a message, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The message.
    pub message_id: MessageId,
    /// What is wrong with it.
    pub reason: ReportReason,
    /// More about it; may be empty.
    pub comment: String,
}

impl Complaint {
    /// Checks what came in, and notes everything that is wrong with it.
    pub fn parse(
        violations: &mut Violations,
        message_id: &str,
        reason: Option<ReportReason>,
        comment: &str,
    ) -> Option<Self> {
        let message_id = text::id(violations, "message_id", message_id);
        violations.check(reason.is_some(), "reason", "must say what is wrong with the message");
        let before = violations.len();
        let comment = text::paragraphs(violations, "comment", comment, COMMENT_CHARS_MAX);
        let said = reason != Some(ReportReason::Other) || !comment.trim().is_empty();
        violations.check(said, "comment", "must say what is wrong, when the reason does not");
        let fine = violations.len() == before;
        Some(Self { message_id: message_id?, reason: reason?, comment }).filter(|_| fine)
    }

    /// The report of a message.
    #[must_use]
    pub fn of(
        self,
        id: ReportId,
        organization_id: OrganizationId,
        message: Message,
        reporter_id: AccountId,
        created_at: Timestamp,
    ) -> Report {
        Report {
            id,
            organization_id,
            thread_id: message.thread_id,
            message_id: message.id,
            author: message.author,
            text: message.text,
            reporter_id,
            reason: self.reason,
            comment: self.comment,
            created_at,
            resolution: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198c0de-0000-7000-8000-00000000000a";

    fn problems(id: &str, reason: Option<ReportReason>, comment: &str) -> Vec<String> {
        let mut violations = Violations::new();
        let read = Complaint::parse(&mut violations, id, reason, comment);
        assert_eq!(read.is_some(), violations.is_empty());
        violations.as_slice().iter().map(|violation| violation.field.clone()).collect()
    }

    #[test]
    fn every_wrong_field_of_a_complaint_is_named() {
        assert_eq!(problems("", None, "nul \0"), ["message_id", "reason", "comment"]);
        assert_eq!(problems(ID, Some(ReportReason::Other), "  "), ["comment"]);
        assert_eq!(problems(ID, Some(ReportReason::Spam), &"x".repeat(COMMENT_CHARS_MAX + 1)), ["comment"]);
        assert!(problems(ID, Some(ReportReason::Spam), "").is_empty());
        assert!(problems(ID, Some(ReportReason::Other), "it is odd").is_empty());
    }
}
