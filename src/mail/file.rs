//! Letters as files: what the embedded default does instead of sending them.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use async_trait::async_trait;

use super::{Error, Mail, Mailer, Sender, Stamp, compose};

/// Writes each letter as `<id>.eml` into a folder that only its owner can enter.
#[derive(Debug)]
pub struct FileMailer {
    folder: PathBuf,
    sender: Sender,
}

impl FileMailer {
    /// Letters from `sender`, in `folder`, which is made with mode 0700.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(folder: PathBuf, sender: Sender) -> Result<Self, Error> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| Error::Setup(format!("the folder {}: {error}", folder.display())))?;
        Ok(Self { folder, sender })
    }

    fn write(&self, stamp: Stamp, mail: &Mail) -> Result<(), Error> {
        let message = compose::message(&self.sender, stamp, mail)?;
        let path = self.folder.join(format!("{}.eml", stamp.id));
        let partial = self.folder.join(format!("{}.partial", stamp.id));
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

#[async_trait]
impl Mailer for FileMailer {
    async fn send(&self, stamp: Stamp, mail: &Mail) -> Result<(), Error> {
        // A small file in a local folder: as quick as a log line.
        self.write(stamp, mail)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::base::Timestamp;

    #[test]
    fn a_letter_is_written_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let sender = Sender::parse("CapeControl <no-reply@example.com>").unwrap();
        let mailer = FileMailer::new(folder.path().join("mail"), sender).unwrap();
        let stamp = Stamp { id: uuid::Uuid::from_u128(7), at: Timestamp::from_seconds(1_795_168_800) };
        let mail = Mail {
            to: "ada@example.com".to_owned(),
            subject: "Hallo".to_owned(),
            text: "Goeie dag".to_owned(),
            html: "<p>Goeie dag</p>".to_owned(),
            attachments: Vec::new(),
            good_until: None,
        };
        mailer.write(stamp, &mail).unwrap();
        mailer.write(stamp, &mail).unwrap();
        let files: Vec<_> =
            std::fs::read_dir(folder.path().join("mail")).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mode = std::fs::metadata(folder.path().join("mail")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(std::fs::read_to_string(files[0].path()).unwrap().contains("Subject: Hallo"));
    }
}
