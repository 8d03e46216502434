//! A letter as it travels: headers, and both forms of its text.
//!
//! It is the same to the last byte at each attempt: date, id and boundaries come with the letter. What could end a
//! header early is refused here, whoever wrote it.

use std::time::{Duration, SystemTime};

use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{self, Body, Mailbox, MultiPart, SinglePart};

use super::{ATTACHMENTS_MAX, Attachment, Error, Mail, Stamp};

/// Longest subject, in characters.
const SUBJECT_CHARS_MAX: usize = 200;

/// Who sends.
#[derive(Clone, Debug)]
pub struct Sender(Mailbox);

impl Sender {
    /// Reads `Name <address>`, or an address.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.chars().any(char::is_control) {
            return Err(Error::Setup("the sender (MAIL__FROM) must be one line".to_owned()));
        }
        let read = text.parse().map(Self);
        read.map_err(|error| Error::Setup(format!("the sender (MAIL__FROM) {text}: {error}")))
    }

    /// Whether the address is one that nobody can answer: that of the settings' defaults.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.domain() == "localhost" || self.domain().ends_with(".localhost")
    }

    /// The part of the address behind the `@`.
    pub(super) fn domain(&self) -> &str {
        self.0.email.domain()
    }
}

/// Puts a letter together.
pub(super) fn message(sender: &Sender, stamp: Stamp, mail: &Mail) -> Result<Message, Error> {
    let unsendable =
        |what: &str, error: &dyn std::fmt::Display| Error::Unsendable(format!("{what}: {error}"));
    if mail.subject.chars().any(char::is_control) || mail.subject.chars().nth(SUBJECT_CHARS_MAX).is_some() {
        return Err(Error::Unsendable("the subject is not one short line".to_owned()));
    }
    let to: Mailbox = mail.to.parse().map_err(|error| unsendable("the address", &error))?;
    // Programs that answer letters by themselves leave these alone.
    let automatic = HeaderName::new_from_ascii("Auto-Submitted".to_owned());
    let automatic = automatic.map_err(|error| unsendable("a header", &error))?;
    let parts = parts(stamp, mail)?;
    Message::builder()
        .from(sender.0.clone())
        .to(to)
        .subject(&mail.subject)
        .date(date(stamp))
        .message_id(Some(format!("<{}@{}>", stamp.id, sender.domain())))
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
        .multipart(parts)
        .map_err(|error| unsendable("the letter", &error))
}

/// Both forms of the text, and what is attached behind them.
fn parts(stamp: Stamp, mail: &Mail) -> Result<MultiPart, Error> {
    let both = MultiPart::alternative()
        .boundary(format!("letter-{}", stamp.id.simple()))
        .singlepart(SinglePart::plain(mail.text.clone()))
        .singlepart(SinglePart::html(mail.html.clone()));
    if mail.attachments.is_empty() {
        return Ok(both);
    }
    if mail.attachments.len() > ATTACHMENTS_MAX {
        return Err(Error::Unsendable("there is more attached than a letter may carry".to_owned()));
    }
    let boundary = format!("attached-{}", stamp.id.simple());
    let mut whole = MultiPart::mixed().boundary(boundary).multipart(both);
    for attachment in &mail.attachments {
        whole = whole.singlepart(attached(attachment)?);
    }
    Ok(whole)
}

fn attached(attachment: &Attachment) -> Result<SinglePart, Error> {
    let media_type = ContentType::parse(attachment.media_type());
    let media_type = media_type.map_err(|error| Error::Unsendable(format!("the attachment: {error}")))?;
    // Never as text, even if it could be: line ends are changed on the way.
    let body = Body::new_with_encoding(attachment.bytes().to_vec(), ContentTransferEncoding::Base64);
    let body = body.map_err(|_| Error::Unsendable("the attachment cannot be encoded".to_owned()))?;
    Ok(message::Attachment::new(attachment.name().to_owned()).body(body, media_type))
}

fn date(stamp: Stamp) -> SystemTime {
    let micros = u64::try_from(stamp.at.as_micros()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::base::Timestamp;

    const STAMP: Stamp = Stamp { id: uuid::Uuid::from_u128(7), at: Timestamp::from_seconds(1_795_168_800) };

    fn letter(subject: &str) -> Mail {
        Mail {
            to: "ada@example.com".to_owned(),
            subject: subject.to_owned(),
            text: "Goeie dag".to_owned(),
            html: "<p>Goeie dag</p>".to_owned(),
            attachments: Vec::new(),
            good_until: None,
        }
    }

    fn sender() -> Sender {
        Sender::parse("Cape Control <no-reply@example.com>").unwrap()
    }

    /// The names of the headers of a message.
    fn headers(message: &Message) -> Vec<String> {
        let text = String::from_utf8(message.formatted()).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        let names = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
        names.map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn a_letter_is_the_same_each_time() {
        let one = message(&sender(), STAMP, &letter("Hallo")).unwrap().formatted();
        assert_eq!(one, message(&sender(), STAMP, &letter("Hallo")).unwrap().formatted());
        let text = String::from_utf8(one).unwrap();
        assert!(
            text.contains("Message-ID: <00000000-0000-0000-0000-000000000007@example.com>\r\n"),
            "{text}"
        );
        assert!(text.contains("Date: Fri, 20 Nov 2026 10:00:00 +0000\r\n"), "{text}");
        assert!(text.contains("Auto-Submitted: auto-generated\r\n"), "{text}");
    }

    #[test]
    fn what_is_attached_stands_behind_the_text_and_is_the_same_each_time() {
        let bytes: Vec<u8> = (0..=255).collect();
        let attachment =
            Attachment::new("tax-invoice-INV-000123.pdf", "application/pdf", bytes.clone()).unwrap();
        let mail = Mail { attachments: vec![attachment.clone()], ..letter("Hallo") };
        let formatted = message(&sender(), STAMP, &mail).unwrap().formatted();
        assert_eq!(formatted, message(&sender(), STAMP, &mail).unwrap().formatted());
        let text = String::from_utf8(formatted).unwrap();
        assert!(text.contains("Content-Type: multipart/mixed;\r\n boundary=\"attached-"), "{text}");
        let (_, part) = text.split_once("filename=\"tax-invoice-INV-000123.pdf\"\r\n").unwrap();
        assert!(part.contains("Content-Type: application/pdf\r\n"), "{part}");
        let (_, body) = part.split_once("\r\n\r\n").unwrap();
        let body: String = body.split("\r\n--").next().unwrap().split_whitespace().collect();
        assert_eq!(STANDARD.decode(body).unwrap(), bytes);
        let mail = Mail { attachments: vec![attachment; 5], ..letter("Hallo") };
        assert!(matches!(message(&sender(), STAMP, &mail), Err(Error::Unsendable(_))));
    }

    #[test]
    fn what_could_end_a_header_is_refused_for_good() {
        for subject in ["a\r\nBcc: eve@example.com", "a\nb", "a\rb", "a\0b", &"x".repeat(201)] {
            assert!(
                matches!(message(&sender(), STAMP, &letter(subject)), Err(Error::Unsendable(_))),
                "{subject:?}"
            );
        }
        for to in ["ada@example.com\r\nBcc: eve@example.com", "ada@example.com, eve@example.com", "", "ada"] {
            let mail = Mail { to: to.to_owned(), ..letter("Hallo") };
            assert!(matches!(message(&sender(), STAMP, &mail), Err(Error::Unsendable(_))), "{to:?}");
        }
        assert!(matches!(
            Sender::parse("Cape\r\nBcc: eve@example.com <no-reply@example.com>"),
            Err(Error::Setup(_))
        ));
    }

    proptest! {
        #[test]
        fn no_subject_and_no_text_makes_another_header(
            subject in "\\PC{0,80}",
            text in "\\PC{0,80}|[\r\n.:a-z ]{0,80}",
        ) {
            let plain = headers(&message(&sender(), STAMP, &letter("Hallo")).unwrap());
            let mail = Mail { text: text.clone(), html: text, ..letter(&subject) };
            if let Ok(message) = message(&sender(), STAMP, &mail) {
                prop_assert_eq!(headers(&message), plain);
                // One part each, however the text looks.
                let formatted = String::from_utf8(message.formatted()).unwrap();
                prop_assert_eq!(formatted.matches("\r\n--letter-").count(), 3);
            }
        }
    }
}
