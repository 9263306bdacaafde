use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use unattended_upgrade::{InstanceId, TargetId, Version};

use crate::OpenError;
use crate::process::start_time;
use crate::program::admin_socket;
use crate::state::{APPLICATION, SEATS, State, directory_of};

/// A process of a target, as whoever does not hold the directory can see it: a metrics system, a test.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Running {
    /// Its number; no other process of the target has had it.
    pub instance: InstanceId,
    /// What it was made from.
    pub version: Version,
    /// Its process id.
    pub pid: i32,
    /// The socket at which it is asked; `None` for the application.
    pub admin: Option<PathBuf>,
    started: u64,
}

impl Running {
    /// Sends it a signal. `false`: it has ended, and nobody else has heard the signal.
    ///
    /// # Errors
    /// The kernel's word, as where it belongs to another user.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(false);
        };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        // The descriptor means one process for good; whether it is the one that was seen is told by its start.
        if start_time(self.pid) != Some(self.started) {
            return Ok(false);
        }
        match pidfd_send_signal(pidfd, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The processes of a target that run now, by the files of `directory`, whoever holds it; the sidecar's slots first, and
/// at the end those that have left and serve on. None where the directory does not know the target.
///
/// # Errors
/// The target's file cannot be read.
pub fn running(directory: impl AsRef<Path>, target: &TargetId) -> Result<Vec<Running>, OpenError> {
    let directory = directory_of(directory.as_ref(), target.as_str());
    let Some(state) = State::load(&directory)? else {
        return Ok(Vec::new());
    };
    let seats = (0..SEATS).filter_map(|seat| Some((seat, state.seats[seat].run.as_ref()?)));
    let left = state.left.iter().map(|left| (left.slot, &left.run));
    let alive = seats
        .chain(left)
        .filter(|(_, run)| start_time(run.pid) == Some(run.started));
    let all = alive.map(|(seat, run)| Running {
        instance: InstanceId(run.instance),
        version: run.version.clone(),
        pid: run.pid,
        admin: (seat != APPLICATION).then(|| admin_socket(&directory, seat, InstanceId(run.instance))),
        started: run.started,
    });
    Ok(all.collect())
}
