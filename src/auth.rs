//! Who is calling, and what belongs to whom: accounts, sign-ins, tokens, organisations and their members.
//!
//! Every other domain leans on this one for a [`Caller`] and for [`access`] to an organisation; this one knows no other
//! domain, and of the outside only jobs (through which its letters leave). It does not know what a subscription, a
//! thread or a listing is.
//!
//! How a sign-in lives: a password is checked behind a bounded queue ([`hashing`]), a *session* row begins, and two
//! tokens are handed out. The access token ([`token`]) is a signed statement that any node checks without asking; that
//! its session still stands is read from the row and remembered for three seconds ([`standing`]). The refresh token is
//! a row of its own: used once, it is replaced; a second use soon after gets the same successor, and any later one ends
//! the session with all its tokens ([`model::family`]).

pub mod access;
pub mod api_key;
pub mod assertion;
pub mod caller;
pub mod email;
pub mod error;
pub mod guess;
pub mod hashing;
pub mod keys;
pub mod letters;
pub mod model;
pub mod password;
pub mod profile;
pub mod rpc;
pub mod service;
pub mod standing;
pub mod store;
pub mod token;
pub mod verified;

pub use caller::{Caller, Origin};
pub use email::Email;
pub use error::{Error, REASONS};
pub use model::{OrganizationRole, Role};
pub use service::{Estate, Options, Service};
