//! How one process calls another: a socket with a path, for processes of the same user.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with, sockopt,
};
use rustix::process::{Pid, Uid, geteuid};

use super::Channel;
use crate::Refusal;
use crate::wire::Frame;

/// A place where this process can be called. Removed when dropped, if it is still its own.
#[derive(Debug)]
pub struct Doorbell {
    socket: OwnedFd,
    path: PathBuf,
    /// Device and number of the file, so that somebody else's at the same path is left alone.
    file: (u64, u64),
}

/// Who has called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// Its process, when it called.
    pub pid: Pid,
}

/// A call.
#[derive(Debug)]
#[non_exhaustive]
pub enum Call {
    /// From a process of the same user.
    Taken(Channel, Caller),
    /// From a process of another user. It was told [`Refusal::Stranger`], and nothing else.
    Stranger {
        /// The user.
        uid: Uid,
    },
    /// Nobody calls now.
    Nobody,
}

impl Doorbell {
    /// Opens one at `path`, which only this user may enter. A file that a dead process left there is replaced.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] if a living process listens there, or if what is there is no socket; else what the
    /// system says.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        remove_if_dead(&path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        bind(&socket, &SocketAddrUnix::new(&path)?)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        listen(&socket, 8)?;
        let file = identity(&path)?;
        Ok(Self { socket, path, file })
    }

    /// Who calls, if anybody does.
    ///
    /// # Errors
    ///
    /// What `accept(2)` says, most likely that this process may open no more descriptors.
    pub fn answer(&self) -> io::Result<Call> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match accept_with(&self.socket, flags) {
            Ok(socket) => socket,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(Call::Nobody),
            Err(error) => return Err(error.into()),
        };
        let credentials = sockopt::socket_peercred(&socket)?;
        if credentials.uid != geteuid() {
            // Nobody waits for what cannot be sent.
            let _ = Channel::of(socket).send(&Frame::Refuse(Refusal::Stranger), &[]);
            return Ok(Call::Stranger { uid: credentials.uid });
        }
        Ok(Call::Taken(Channel::of(socket), Caller { pid: credentials.pid }))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            // What cannot be removed now is replaced by the next one.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Calls the process at `path`.
///
/// # Errors
///
/// [`io::ErrorKind::ConnectionRefused`] if the process that listened there is dead, [`io::ErrorKind::PermissionDenied`] if
/// it belongs to another user; else what the system says.
pub fn call(path: &Path) -> io::Result<Channel> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    if sockopt::socket_peercred(&socket)?.uid != geteuid() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{}: it belongs to another user", path.display()),
        ));
    }
    Ok(Channel::of(socket))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

fn remove_if_dead(path: &Path) -> io::Result<()> {
    let in_use = |what: &str| io::Error::new(io::ErrorKind::AddrInUse, format!("{}: {what}", path.display()));
    let file = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    if !file.file_type().is_socket() {
        return Err(in_use("there is a file that is no socket; name another path"));
    }
    match call(path) {
        Ok(_) => Err(in_use(
            "a living process is called there; name another path or end it first",
        )),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}
