//! Simulations from seeds, against models in memory.

mod chat;
mod money;
mod network;
mod payments;
mod simulator;
