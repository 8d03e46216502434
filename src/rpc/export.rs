//! Exports: long answers in parts, to callers who take their time.
//!
//! A part is read when the one before it was taken, and nothing is held while nobody takes one: a slow reader costs one
//! part of memory. Before each part it is asked whether its caller may still go on. A node that drains ends an export
//! with a status that tells to come again; what the parts carry says where to go on.

use std::sync::Arc;

use futures_util::{Stream, stream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::refusal::Refusal;
use super::status::status_of_request;
use crate::auth::{self, Caller};
use crate::base::Fault;

/// What every export of a node needs.
#[derive(Clone)]
pub struct Exports {
    auth: Arc<auth::Service>,
    drain: CancellationToken,
}

impl Exports {
    /// Exports that ask `auth` who may go on, and end when `drain` is cancelled.
    #[must_use]
    pub const fn new(auth: Arc<auth::Service>, drain: CancellationToken) -> Self {
        Self { auth, drain }
    }

    /// The parts of an answer to `caller`. `next` makes of a state the next part and the state behind it, or nothing at
    /// the end.
    pub fn parts<S, P, E, F, N>(
        &self,
        caller: Caller,
        state: S,
        next: N,
    ) -> impl Stream<Item = Result<P, Status>> + Send + use<S, P, E, F, N>
    where
        S: Send + 'static,
        P: Send + 'static,
        E: Fault + Send + 'static,
        F: Future<Output = Result<Option<(P, S)>, E>> + Send + 'static,
        N: Fn(S) -> F + Send + 'static,
    {
        let Self { auth, drain } = self.clone();
        stream::try_unfold((caller, state), move |(caller, state)| {
            // Made now, begun when the caller was found to stand.
            let work = next(state);
            let (auth, drain) = (Arc::clone(&auth), drain.clone());
            async move {
                let refused = |fault: &dyn Fault| status_of_request(&caller.origin.request_id, fault);
                let part = async {
                    auth.still_stands(&caller).await.map_err(|error| refused(&error))?;
                    work.await.map_err(|error| refused(&error))
                };
                let part = tokio::select! {
                    biased;
                    () = drain.cancelled() => Err(refused(&Refusal::Closing)),
                    part = part => part,
                };
                part.map(|found| found.map(|(part, state)| (part, (caller, state))))
            }
        })
    }
}
