//! Letters as files: what the embedded default does instead of sending them.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use async_trait::async_trait;
use lettre::Message;
use lettre::message::{Mailbox, MultiPart};

use super::{Error, Mail, Mailer};

/// Writes each letter as `<id>.eml` into a folder that only its owner can enter.
#[derive(Debug)]
pub struct FileMailer {
    folder: PathBuf,
    from: Mailbox,
}

impl FileMailer {
    /// Letters from `from`, in `folder`, which is made with mode 0700.
    ///
    /// # Errors
    /// When the sender is not an address or the folder cannot be made.
    pub fn new(folder: PathBuf, from: &str) -> Result<Self, Error> {
        let from = from.parse().map_err(|error| Error::Unsendable(format!("the sender {from}: {error}")))?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| Error::NotSent(format!("the folder {}: {error}", folder.display())))?;
        Ok(Self { folder, from })
    }

    fn write(&self, id: uuid::Uuid, mail: &Mail) -> Result<(), Error> {
        let message = compose(&self.from, mail)?;
        let path = self.folder.join(format!("{id}.eml"));
        let partial = self.folder.join(format!("{id}.partial"));
        // Written aside first: a reader never sees half a letter, and a second attempt replaces the first.
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .and_then(|mut file| file.write_all(&message.formatted()))
            .and_then(|()| std::fs::rename(&partial, &path));
        written.map_err(|error| Error::NotSent(format!("{}: {error}", path.display())))
    }
}

fn compose(from: &Mailbox, mail: &Mail) -> Result<Message, Error> {
    let unsendable = |error: &dyn std::fmt::Display| Error::Unsendable(error.to_string());
    let to: Mailbox = mail.to.parse().map_err(|error| unsendable(&error))?;
    let draft = Message::builder().from(from.clone()).to(to).subject(&mail.subject);
    let both = MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone());
    draft.multipart(both).map_err(|error| unsendable(&error))
}

#[async_trait]
impl Mailer for FileMailer {
    async fn send(&self, id: uuid::Uuid, mail: &Mail) -> Result<(), Error> {
        // A small file in a local folder: as quick as a log line.
        self.write(id, mail)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn letter(to: &str) -> Mail {
        let (subject, text) = ("Hallo".to_owned(), "Goeie dag".to_owned());
        Mail { to: to.to_owned(), subject, text, html: "<p>Goeie dag</p>".to_owned() }
    }

    #[test]
    fn a_letter_is_written_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let mailer =
            FileMailer::new(folder.path().join("mail"), "CapeControl <no-reply@example.com>").unwrap();
        let id = uuid::Uuid::from_u128(7);
        mailer.write(id, &letter("ada@example.com")).unwrap();
        mailer.write(id, &letter("ada@example.com")).unwrap();
        let files: Vec<_> =
            std::fs::read_dir(folder.path().join("mail")).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mode = std::fs::metadata(folder.path().join("mail")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(std::fs::read_to_string(files[0].path()).unwrap().contains("Subject: Hallo"));
    }

    #[test]
    fn an_address_that_is_none_is_refused_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let mailer = FileMailer::new(folder.path().to_owned(), "no-reply@example.com").unwrap();
        let wrong = mailer.write(uuid::Uuid::nil(), &letter("ada@example.com\r\nBcc: x@example.com"));
        assert!(matches!(wrong, Err(Error::Unsendable(_))));
    }
}
