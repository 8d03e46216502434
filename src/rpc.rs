//! The wire: what every call passes before it reaches a domain, and how its answer or refusal is told.
//!
//! A call goes through [`gate`] (request id, deadline, credential, the method's policy, in-flight bounds), is opened by
//! [`open()`] or [`open_mutation`] in the domain's `rpc.rs`, and a refusal leaves through [`status`]. This module knows
//! no domain's rules; of the domains it knows only who calls ([`crate::auth`]).

mod body;
pub mod codec;
pub mod cors;
pub mod decode;
pub mod encode;
pub mod export;
pub mod gate;
pub mod health;
mod idle;
pub mod in_flight;
pub mod limits;
pub mod metrics;
pub mod page;
mod places;
pub mod policy;
pub mod refusal;
pub mod refusals;
pub mod server;
pub mod status;
pub mod telemetry;

mod open;

pub use export::Exports;
pub use open::{Mutation, open, open_mutation, open_stream, refusals};
pub use page::{Page, Pages};
pub(crate) use status::status_from;
