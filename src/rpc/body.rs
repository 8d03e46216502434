//! The body of an answer: cut at the call's deadline, counted when it ends, and holding a stream's place until then.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::body::Body;
use tonic::{Code, Status};

use super::gate::Held;
use super::metrics::Observation;
use super::refusal::Refusal;
use super::status;

/// A body that ends by the deadline, with DEADLINE_EXCEEDED in its trailers.
pub(super) struct Bounded {
    inner: Body,
    deadline: Option<Pin<Box<Sleep>>>,
    observation: Option<Observation>,
    ended: bool,
    _held: Option<Held>,
}

impl Bounded {
    /// `early` is the status of a call that ended with the head of its answer.
    pub(super) fn new(
        inner: Body,
        deadline: Option<Instant>,
        early: Option<Code>,
        observation: Observation,
        held: Option<Held>,
    ) -> Self {
        let deadline = deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline)));
        let mut body = Self { inner, deadline, observation: Some(observation), ended: false, _held: held };
        if let Some(code) = early {
            body.observe(code);
        }
        body
    }

    fn observe(&mut self, code: Code) {
        if let Some(observation) = self.observation.take() {
            observation.end(code);
        }
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let passed = this.deadline.as_mut().is_some_and(|at| at.as_mut().poll(context).is_ready());
        if passed {
            this.ended = true;
            this.observe(Code::DeadlineExceeded);
            let mut trailers = HeaderMap::new();
            return match status::status(&Refusal::Deadline).add_header(&mut trailers) {
                Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Err(status) => Poll::Ready(Some(Err(status))),
            };
        }
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.observe(code(trailers));
                }
            }
            Poll::Ready(Some(Err(status))) => this.observe(status.code()),
            Poll::Ready(None) => this.observe(Code::Ok),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        let code = if self.inner.is_end_stream() { Code::Ok } else { Code::Cancelled };
        self.observe(code);
    }
}

fn code(trailers: &HeaderMap) -> Code {
    trailers.get("grpc-status").map_or(Code::Ok, |status| Code::from_bytes(status.as_bytes()))
}
