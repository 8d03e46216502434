//! The bus of a single node: a ring in memory.

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::{Bus, Heard, Listener, Signal};

/// How many signals a listener may lag behind before it misses some.
const RING_SIGNALS: usize = 4_096;

/// Carries signals within the process.
#[derive(Debug)]
pub struct Local(broadcast::Sender<Heard>);

impl Local {
    /// A bus without listeners.
    #[must_use]
    pub fn new() -> Self {
        Self(broadcast::Sender::new(RING_SIGNALS))
    }

    /// Has every listener hear this.
    pub(super) fn tell(&self, heard: Heard) {
        // The error says that nobody listens, which is nobody's loss.
        let _unheard = self.0.send(heard);
    }
}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}

impl Bus for Local {
    fn publish(&self, signal: Signal) {
        self.tell(Heard::Signal(signal));
    }

    fn listen(&self) -> Box<dyn Listener> {
        Box::new(Ring(self.0.subscribe()))
    }
}

struct Ring(broadcast::Receiver<Heard>);

#[async_trait]
impl Listener for Ring {
    async fn next(&mut self) -> Option<Heard> {
        match self.0.recv().await {
            Ok(heard) => Some(heard),
            Err(RecvError::Lagged(_)) => Some(Heard::Missed),
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::bus::Passing;

    fn signal() -> Signal {
        Signal::Passing(Passing { about: Uuid::nil(), body: Arc::from(b"x".as_slice()) })
    }

    #[tokio::test]
    async fn every_listener_hears_and_a_slow_one_is_told_that_it_missed() {
        let bus = Local::new();
        bus.publish(signal());
        let (mut first, mut second) = (bus.listen(), bus.listen());
        bus.publish(signal());
        assert_eq!(first.next().await, Some(Heard::Signal(signal())));
        for _ in 0..=RING_SIGNALS {
            bus.publish(signal());
        }
        assert_eq!(second.next().await, Some(Heard::Missed));
        drop(bus);
        while first.next().await.is_some() {}
    }
}
