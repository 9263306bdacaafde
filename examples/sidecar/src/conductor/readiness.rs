//! Waits for the hand-over's descriptors.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// A poller within the runtime's own. The hand-over opens and closes its sockets as it likes; a copy of one, as the runtime
/// would want it, kept it open, and the other process saw no end. Of a poller's set a socket goes by itself when it is closed.
#[derive(Debug)]
pub(super) struct Readiness(AsyncFd<OwnedFd>);

impl Readiness {
    /// Waits for nothing yet.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn new() -> io::Result<Self> {
        let poller = epoll::create(CreateFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types that may close their descriptor; an `OwnedFd` does not"
        )]
        AsyncFd::new(poller).map(Self)
    }

    /// Waits for these from now on: to be read, and where `true` stands beside one, to be written.
    pub(super) fn arm<'a>(&self, descriptors: impl Iterator<Item = (BorrowedFd<'a>, bool)>) {
        for (descriptor, full) in descriptors {
            let number = u64::try_from(descriptor.as_raw_fd()).unwrap_or_default();
            let data = EventData::new_u64(number);
            let flags = if full {
                EventFlags::IN | EventFlags::OUT
            } else {
                EventFlags::IN
            };
            if epoll::add(self.0.get_ref(), descriptor, data, flags) == Err(Errno::EXIST) {
                // It is there.
                let _ = epoll::modify(self.0.get_ref(), descriptor, data, flags);
            }
        }
    }

    /// Whether one of them can be read or written now.
    pub(super) fn is_ready(&self) -> bool {
        let mut events = Vec::with_capacity(1);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let found = epoll::wait(
            self.0.get_ref(),
            rustix::buffer::spare_capacity(&mut events),
            Some(&now),
        );
        found.is_ok_and(|count| count > 0)
    }

    /// Returns when one of them may be ready.
    pub(super) async fn ready(&self) {
        if let Ok(mut guard) = self.0.readable().await {
            guard.clear_ready();
        }
    }
}
