//! The letters that this domain sends: those that bring a document, and the one that says that a card expires.
//!
//! What a letter says of a document is read from the document that it brings, so that the two cannot differ. Subjects
//! are ours, word for word. Of what people typed nothing stands in the text but the facts; names are on the document.

use crate::mail::parts::{Letter, Part, letter, says, typed};
use crate::mail::{Attachment, Mail, Unattachable};

use super::document::{self, Document, Kind};
use super::model::method::CardExpiry;

/// How much of a number or a reason a letter shows.
const SHOWN_CHARS_MAX: usize = 200;
/// The type of a document.
const PDF: &str = "application/pdf";

const BILLED: &str = "You get this letter because this address is where your organisation's invoices go.";

/// A letter that brings a document: `pdf` is what [`document::render`] made of it.
///
/// # Errors
/// When the file is larger than a letter may carry.
pub fn bring(to: &str, site: &str, document: &Document, pdf: Vec<u8>) -> Result<Mail, Unattachable> {
    let attachment = Attachment::new(&document.file_name(), PDF, pdf)?;
    Ok(Mail { attachments: vec![attachment], ..Mail::to(to, write(site, document)) })
}

/// What the letter says.
#[must_use]
pub fn write(site: &str, document: &Document) -> Letter {
    match &document.kind {
        Kind::TaxInvoice => invoice(site, document),
        Kind::CreditNote(corrected) => credit_note(site, document, corrected),
    }
}

fn invoice(site: &str, document: &Document) -> Letter {
    let amount = |minor: i64| document::amount(minor, document.currency);
    let mut facts = vec![
        ("Invoice", typed(&document.number, SHOWN_CHARS_MAX)),
        ("Date of issue", document::date(document.issued_at)),
        ("Total", amount(document.total_minor())),
    ];
    let due = document.due_minor();
    let says_what = if due == 0 {
        "Thank you for your payment. Your invoice is attached; nothing is left to pay."
    } else {
        facts.push(("Still to pay", amount(due)));
        facts.extend(document.due_at.map(|due_at| ("Due date", document::date(due_at))));
        "Your invoice is attached."
    };
    let parts = body(document, says_what, facts);
    letter("Your invoice from Cape Control", &parts, BILLED, site)
}

fn credit_note(site: &str, document: &Document, corrected: &document::Corrected) -> Letter {
    let amount = |minor: i64| document::amount(minor, document.currency);
    let mut facts = vec![
        ("Credit note", typed(&document.number, SHOWN_CHARS_MAX)),
        ("Date of issue", document::date(document.issued_at)),
        ("For invoice", typed(&corrected.number, SHOWN_CHARS_MAX)),
        ("Total credited", amount(document.total_minor())),
    ];
    let paid_back = document.paid_minor();
    if paid_back > 0 {
        facts.push(("Paid back", amount(paid_back)));
    }
    facts.push(("Reason", typed(&corrected.reason, SHOWN_CHARS_MAX)));
    let parts = body(document, "Your credit note is attached.", facts);
    letter("Your credit note from Cape Control", &parts, BILLED, site)
}

/// A letter that says that a stored card, which its owners call `name`, expires soon.
#[must_use]
pub fn card_expires(to: &str, site: &str, name: &str, expiry: CardExpiry, test: bool) -> Mail {
    let mut facts = vec![("Good until the end of", format!("{:02}/{}", expiry.month, expiry.year))];
    if !name.is_empty() {
        facts.insert(0, ("Payment method", typed(name, SHOWN_CHARS_MAX)));
    }
    let mut parts = Vec::new();
    if test {
        parts.push(says("This is a test: the card is none, and no money moves."));
    }
    parts.push(says("A card that your organisation stored with Cape Control expires soon."));
    parts.push(Part::Facts(facts));
    parts.push(says(
        "Afterwards it is not charged any more. Add the new card before then; or, when your bank goes on with the same \
         one, say until when it is good now.",
    ));
    Mail::to(to, letter("A payment method of yours expires soon", &parts, BILLED, site))
}

fn body(document: &Document, says_what: &str, facts: Vec<(&'static str, String)>) -> Vec<Part> {
    let mut parts = Vec::new();
    if document.test {
        parts.push(says("This is a test: no money moved, and what is attached is no tax document."));
    }
    parts.push(says(says_what));
    parts.push(Part::Facts(facts));
    parts.push(says(
        "Keep the file as it is: for your bookkeeping it carries the same facts for programs inside. The law wants it \
         kept for five years.",
    ));
    parts
}
