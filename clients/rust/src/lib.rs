//! The client's side of CapeControl, as far as it decides: nothing here opens a connection, reads a clock or draws
//! randomness. Whoever drives it does that, and so can a test.

pub mod chat;
