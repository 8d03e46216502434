//! Simulations from seeds, against models in memory.

mod chat;
mod payments;
mod simulator;
