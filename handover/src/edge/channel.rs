//! A socket between two processes that keeps messages apart, with descriptors in them.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::wire::{Frame, MAX_FRAME, Secret, WireError, wipe};

/// The kernel refuses more in one message; a buffer for fewer would lose the rest without a word but a flag.
const KERNEL_MAX_DESCRIPTORS: usize = 253;

/// What the socket's buffer should hold, in bytes: some frames of the largest size, as the kernel counts them.
const SEND_BUFFER: usize = 1 << 20;

/// One end of a session's socket. Never blocks.
pub struct Channel {
    socket: OwnedFd,
    /// Frames that did not fit yet, with their descriptors. Keys may be in them, and what clients have said.
    waiting: VecDeque<(Secret, Vec<OwnedFd>)>,
    /// The socket's buffer was full. Else something waits for what the socket does not tell of.
    full: bool,
    buffer: Vec<u8>,
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Now,
    /// The socket's buffer is full.
    Full,
    /// The kernel has no room, and does not say when it has.
    Later,
}

/// What a look into the socket gave.
#[derive(Debug)]
#[non_exhaustive]
pub enum Received {
    /// A frame, with the descriptors that belong to it.
    Frame(Frame, Vec<OwnedFd>),
    /// A message that is no frame; its descriptors are closed.
    Garbled(WireError),
    /// Nothing now.
    Nothing,
    /// The other end is closed, and everything it has said was read.
    End,
}

impl Channel {
    /// Two ends that are connected to each other.
    ///
    /// # Errors
    ///
    /// Those of `socketpair(2)`.
    pub fn pair() -> rustix::io::Result<(Self, Self)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self::of(one), Self::of(other)))
    }

    /// An end that somebody else connected. It must be non-blocking.
    pub(crate) fn of(socket: OwnedFd) -> Self {
        // Less than wished for is no error: what does not fit waits.
        let _ = sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER);
        Self {
            socket,
            waiting: VecDeque::new(),
            full: false,
            buffer: vec![0; MAX_FRAME + 1],
        }
    }

    /// Sends a frame with its descriptors, now or when there is room; frames never overtake each other.
    ///
    /// # Errors
    ///
    /// [`SendError`]; the frame was not sent and will not be.
    pub fn send(&mut self, frame: &Frame, descriptors: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        let bytes = frame.encode()?;
        if frame.descriptors() != descriptors.len() {
            return Err(SendError::Wire(WireError::Descriptors {
                said: frame.descriptors(),
                came: descriptors.len(),
            }));
        }
        self.send_encoded(bytes, descriptors)
    }

    /// As [`send`](Self::send), for a frame that is bytes already and has just these descriptors.
    pub(crate) fn send_encoded(&mut self, bytes: Vec<u8>, descriptors: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        let bytes = Secret::new(bytes);
        if self.waiting.is_empty() {
            let sent = Self::send_now(&self.socket, bytes.reveal(), descriptors)?;
            self.full = sent == Sent::Full;
            if sent == Sent::Now {
                return Ok(());
            }
        }
        let kept = descriptors
            .iter()
            .map(BorrowedFd::try_clone_to_owned)
            .collect::<Result<_, _>>()
            .map_err(|error| SendError::Socket(Errno::from_io_error(&error).unwrap_or(Errno::MFILE)))?;
        self.waiting.push_back((bytes, kept));
        Ok(())
    }

    /// Sends what did not fit before. `true`: nothing waits any more.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the socket is broken.
    pub fn flush(&mut self) -> Result<bool, SendError> {
        while let Some((bytes, descriptors)) = self.waiting.front() {
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            let sent = Self::send_now(&self.socket, bytes.reveal(), &borrowed)?;
            self.full = sent == Sent::Full;
            if sent != Sent::Now {
                return Ok(false);
            }
            self.waiting.pop_front();
        }
        Ok(true)
    }

    /// Something waits to be sent.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The socket tells when there is room.
    pub(crate) fn wants_room(&self) -> bool {
        self.full && self.is_waiting()
    }

    fn send_now(socket: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<Sent, SendError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(KERNEL_MAX_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(SendError::Socket(Errno::INVAL));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            match sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, flags) {
                Ok(_) => return Ok(Sent::Now),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Sent::Full),
                // TOOMANYREFS: descriptors of this user that are under way are as many as it may open.
                Err(Errno::NOBUFS | Errno::TOOMANYREFS) => return Ok(Sent::Later),
                Err(error) => return Err(SendError::Socket(error)),
            }
        }
    }

    /// The process at the other end, while it has not closed it; `None` where that is not known.
    pub(crate) fn other(&self) -> Option<OwnedFd> {
        let pid = sockopt::socket_peercred(&self.socket).ok()?.pid;
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // A number is given anew when its process is gone. Who holds its end open is still there, so this is it.
        let is_open = !polled(&self.socket, PollFlags::empty()).contains(PollFlags::HUP);
        is_open.then_some(process)
    }

    /// The next message, if there is one.
    pub fn receive(&mut self) -> Received {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(KERNEL_MAX_DESCRIPTORS))];
        let mut resets = 0;
        loop {
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(&mut self.buffer)];
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            let message = match recvmsg(&self.socket, &mut slices, &mut ancillary, flags) {
                Ok(message) => message,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Received::Nothing,
                // Comes before what is still to be read: the other died without reading what was sent to it.
                Err(Errno::CONNRESET) if resets < 2 => {
                    resets += 1;
                    continue;
                }
                Err(_) => return Received::End,
            };
            let descriptors: Vec<OwnedFd> = ancillary
                .drain()
                .filter_map(|one| match one {
                    RecvAncillaryMessage::ScmRights(rights) => Some(rights),
                    _ => None,
                })
                .flatten()
                .collect();
            if message.bytes == 0 && descriptors.is_empty() {
                return Received::End;
            }
            if message.flags.contains(ReturnFlags::TRUNC) {
                let bytes = message.bytes.max(MAX_FRAME + 1);
                return Received::Garbled(WireError::TooLong { bytes });
            }
            let bytes = self.buffer.get(..message.bytes).unwrap_or_default();
            if message.flags.contains(ReturnFlags::CTRUNC) {
                // Of those that did not fit nothing is left, in the kernel neither: this process may open no more.
                return Received::Garbled(WireError::Descriptors {
                    said: Frame::decode_unchecked(bytes).map_or(0, |frame| frame.descriptors()),
                    came: descriptors.len(),
                });
            }
            let decoded = Frame::decode(bytes, descriptors.len());
            if matches!(decoded, Ok(Frame::Secret { .. })) {
                wipe(&mut self.buffer);
            }
            return match decoded {
                Ok(frame) => Received::Frame(frame, descriptors),
                Err(error) => Received::Garbled(error),
            };
        }
    }
}

/// Whether a process is dead that somebody has opened.
pub(crate) fn is_dead(process: &OwnedFd) -> bool {
    polled(process, PollFlags::IN).contains(PollFlags::IN)
}

/// What is so of a descriptor now.
fn polled(descriptor: &OwnedFd, wanted: PollFlags) -> PollFlags {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut all = [PollFd::new(descriptor, wanted)];
    let looked = poll(&mut all, Some(&now)).is_ok();
    let [one] = all;
    if looked { one.revents() } else { PollFlags::empty() }
}

impl core::fmt::Debug for Channel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Not the buffer: the last message is still in it.
        f.debug_struct("Channel")
            .field("socket", &self.socket)
            .field("waiting", &self.waiting)
            .field("full", &self.full)
            .finish_non_exhaustive()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Why a frame was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No message can carry it.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The socket is broken.
    #[error("the socket to the other process: {0}")]
    Socket(Errno),
}
