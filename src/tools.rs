//! What agents may have done on the platform: the tools that a model may call, each written over the domains that it
//! uses.
//!
//! A tool stands where a client would stand: it goes through the domains' services in the name of the person whom the
//! agent answers, and has no power that they have not. It knows no thread and no model.

mod checklist;
mod checkout;

use std::sync::Arc;

use crate::ai::Toolbox;
use crate::db::Db;
use crate::payments;

pub use checklist::Checklist;
pub use checkout::Checkout;

/// Every tool of the platform.
#[must_use]
pub fn toolbox(db: &Db, payments: &Arc<payments::Service>) -> Toolbox {
    Toolbox::default()
        .with(Arc::new(Checklist::new(db.clone())))
        .with(Arc::new(Checkout::new(Arc::clone(payments))))
}
