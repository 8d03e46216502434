//! What the tests' reader of statements stands on.

#[path = "../../tests/it/tidy/source.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "written for tests, and used in part")]
pub mod source;
