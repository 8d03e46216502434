//! Stub.
use crate::base::World;
use crate::db;
use crate::db::Tx;
use crate::jobs;
use serde::{Deserialize, Serialize};
/// A letter.
#[derive(Serialize, Deserialize)]
pub struct Mail {
    /// To.
    pub to: String,
    /// Subject.
    pub subject: String,
    /// Text.
    pub text: String,
    /// Html.
    pub html: String,
}
impl jobs::Job for Mail {
    const KIND: &'static str = "mail.send"; const ATTEMPTS_MAX: u32 = 5;
}
/// Push.
pub async fn push(tx: &mut Tx, world: &World, mail: &Mail) -> Result<(), db::Error> {
    jobs::push(tx, world, None, mail).await.map(|_| ())
}
