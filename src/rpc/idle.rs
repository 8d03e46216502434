//! A connection on which nothing moves is an error: to send nothing, or to take nothing, must not keep a place here.
//!
//! hyper bounds the head of an HTTP/1 request and pings quiet HTTP/2 connections, but waits without bound for a client
//! that says nothing at first, or stops in the middle of a body or of an answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// As many bytes as the preface of HTTP/2 has. Before so many came it is not known which protocol is spoken.
const OPENING_BYTES: usize = 24;

/// A socket that fails when nothing was read or written for too long.
pub(super) struct Impatient {
    socket: TcpStream,
    received: usize,
    moved_at: Instant,
    idle_max: Duration,
    alarm: Pin<Box<Sleep>>,
}

impl Impatient {
    /// The client may take `open_within` for its first bytes; later, nothing may move for at most `idle_max`.
    pub(super) fn new(socket: TcpStream, open_within: Duration, idle_max: Duration) -> Self {
        let moved_at = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until(moved_at + open_within));
        Self { socket, received: 0, moved_at, idle_max, alarm }
    }

    fn moved(&mut self) {
        self.moved_at = Instant::now();
    }

    /// Pending, or an error when nothing moved for too long. The alarm is set again only when it rings, so that a busy
    /// connection does not touch the timer.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        while self.alarm.as_mut().poll(context).is_ready() {
            let until = self.moved_at + self.idle_max;
            if self.received < OPENING_BYTES || until <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.alarm.as_mut().reset(until);
        }
        Poll::Pending
    }

    fn after_write(
        &mut self,
        polled: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(written)) => {
                self.moved();
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.wait(context),
        }
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.socket).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                this.received = this.received.saturating_add(buffer.filled().len().saturating_sub(before));
                this.moved();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.wait(context),
        }
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.after_write(polled, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.socket).poll_write_vectored(context, slices);
        this.after_write(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
