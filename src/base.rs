//! Pure values that every floor shares: time, ids, money, secrets, faults.
//!
//! Nothing here reads a clock, rolls a die, waits or touches the outside. What must come from outside is handed in
//! through [`World`], so that a seed replays a test and a test's clock can move billing forward.

pub mod breaker;
pub mod clock;
pub mod csv;
pub mod fault;
pub mod id;
pub mod money;
pub mod net;
pub mod rate;
pub mod rng;
pub mod secret;
pub mod text;
pub mod words;
mod world;

pub use clock::{Clock, ManualClock, Timestamp};
pub use fault::{Code, Fault, Reason, Violation, Violations};
pub use id::{AccountId, Id, OrganizationId, SessionId};
pub use money::{Currency, Money};
pub use rate::{Rate, Rates};
pub use rng::{Rng, SeededRng};
pub use secret::Secret;
pub use world::World;
