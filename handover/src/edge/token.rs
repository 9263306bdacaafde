//! What exactly one of two processes can take.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

/// A counter in the kernel that stands at one. Both processes hold a descriptor of it; who brings it to zero has taken it.
///
/// No message, and no death of either, can make it be taken twice. That it was taken and the one who took it has died is
/// possible: then what it stood for has died with its owner.
#[derive(Debug)]
pub struct Token(OwnedFd);

impl Token {
    /// A new one, to be taken.
    ///
    /// # Errors
    ///
    /// Those of `eventfd(2)`: no descriptors are left.
    pub fn new() -> rustix::io::Result<Self> {
        eventfd(1, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Self)
    }

    /// One that came from the other process.
    #[must_use]
    pub const fn received(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Takes it, if nobody has.
    #[must_use]
    pub fn take(&self) -> bool {
        let mut count = [0; 8];
        loop {
            match rustix::io::read(&self.0, &mut count) {
                Ok(read) => return read == count.len() && u64::from_ne_bytes(count) == 1,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }
}

impl AsFd for Token {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
