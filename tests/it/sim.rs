//! Simulations from seeds, against models in memory.

mod chat;
mod money;
mod payments;
mod simulator;
