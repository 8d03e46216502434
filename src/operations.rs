//! What operators are shown of the platform as a whole, and what they decide: how it stands, and what becomes of jobs
//! that failed for good.
//!
//! It knows jobs by their kinds and errors only, never by what they are about.

pub mod error;
pub mod rpc;
pub mod service;

pub use error::Error;
pub use service::{Alarm, Alarms, Options, Service, Status};
