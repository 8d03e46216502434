//! What follows from the end of a stream: the status says why, and when it was lost on the way, GoAway does.

use super::words::{GoAway, GoAwayCode, Status};

/// Numbers of gRPC status codes.
pub mod code {
    /// The stream ended in good order.
    pub const OK: u32 = 0;
    /// The server does not understand the request.
    pub const INVALID_ARGUMENT: u32 = 3;
    /// A thread is not to be seen.
    pub const NOT_FOUND: u32 = 5;
    /// The caller may not.
    pub const PERMISSION_DENIED: u32 = 7;
    /// Not in this state of things.
    pub const FAILED_PRECONDITION: u32 = 9;
    /// Beyond a range.
    pub const OUT_OF_RANGE: u32 = 11;
    /// The server does not have the method.
    pub const UNIMPLEMENTED: u32 = 12;
    /// The connection broke, or the server goes.
    pub const UNAVAILABLE: u32 = 14;
    /// The token is not good.
    pub const UNAUTHENTICATED: u32 = 16;
}

/// The reason of a token that a refresh replaces.
const TOKEN_EXPIRED: &str = "TOKEN_EXPIRED";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Open again from the positions.
    Resume,
    /// Refresh the token first.
    Refresh,
    /// Sign in first.
    SignIn,
    /// Nothing: it would fail again.
    Stop,
}

/// Judges the end of a stream, or of a call when there was no GoAway.
#[must_use]
pub fn judge(status: &Status, go_away: Option<&GoAway>) -> Verdict {
    match (by_status(status), go_away) {
        (Verdict::Resume, Some(GoAway { code: GoAwayCode::Unauthenticated, .. })) => Verdict::Refresh,
        (Verdict::Resume, Some(GoAway { resume: false, .. })) => Verdict::Stop,
        (verdict, _) => verdict,
    }
}

fn by_status(status: &Status) -> Verdict {
    match status.code {
        code::UNAUTHENTICATED if status.reason == TOKEN_EXPIRED => Verdict::Refresh,
        code::UNAUTHENTICATED => Verdict::SignIn,
        code::INVALID_ARGUMENT
        | code::NOT_FOUND
        | code::PERMISSION_DENIED
        | code::FAILED_PRECONDITION
        | code::OUT_OF_RANGE
        | code::UNIMPLEMENTED => Verdict::Stop,
        _ => Verdict::Resume,
    }
}
