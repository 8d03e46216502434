//! The marketplace: agents that are offered, and those that an organisation has installed.
//!
//! A listing is an agent on offer. Its manifest says everything about the agent, and a published version never changes.
//! An installation pins one version for one organisation; chat asks [`store::installed`] for the agent behind it.
//!
//! This domain knows nothing of payments, threads or model providers.

pub mod error;
pub mod manifest;
pub mod model;
pub mod rpc;
pub mod service;
pub mod store;

pub use error::{Error, REASONS};
pub use manifest::Manifest;
pub use model::{Digest, Installation, InstallationId, InstalledAgent, Listing, ListingId};
pub use service::Service;
