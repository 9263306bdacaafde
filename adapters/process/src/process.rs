//! One process: started behind a gate, known by its pidfd, found again by pid and start time.
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::program::Filled;

/// A process, by a descriptor that never comes to mean another one.
#[derive(Debug)]
pub(crate) struct Process {
    pid: i32,
    pidfd: AsyncFd<OwnedFd>,
}

impl Process {
    fn new(pid: i32, pidfd: OwnedFd) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "what is unsound there is a type that changes its descriptor, which an `OwnedFd` never does; what \
                      replaces it is unsafe to call"
        )]
        let pidfd = AsyncFd::with_interest(pidfd, Interest::READABLE)?;
        Ok(Self { pid, pidfd })
    }

    /// Finds a process again; `None` if it has ended, whatever runs under its id now.
    pub(crate) fn find(pid: i32, started: u64) -> io::Result<Option<Self>> {
        if start_time(pid) != Some(started) {
            return Ok(None);
        }
        let Some(id) = Pid::from_raw(pid) else { return Ok(None) };
        let pidfd = match pidfd_open(id, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The id may have gone to another one between the look and the descriptor, but not since.
        if start_time(pid) != Some(started) {
            return Ok(None);
        }
        let process = Self::new(pid, pidfd)?;
        Ok((!process.has_ended()).then_some(process))
    }

    pub(crate) const fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it has ended, by the kernel's word at this moment.
    pub(crate) fn has_ended(&self) -> bool {
        let mut polled = [PollFd::new(self.pidfd.get_ref(), PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut polled, Some(&at_once)), Ok(1..))
    }

    /// Returns when it has ended.
    pub(crate) async fn ended(&self) {
        loop {
            // Only a runtime that shuts down answers with an error, and then this is not polled again.
            let Ok(mut ready) = self.pidfd.readable().await else {
                return std::future::pending().await;
            };
            if self.has_ended() {
                return;
            }
            ready.clear_ready();
        }
    }

    /// Sends it a signal. One that has ended hears none.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(self.pidfd.get_ref(), signal);
    }

    /// Takes its exit status, so that nothing is left of it. Adopted ones are somebody else's children.
    pub(crate) fn reap(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let _ = waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(self.pidfd.get_ref())), options);
    }
}

/// When a process began, in the kernel's ticks since boot; `None` if there is none, or nothing but its exit status.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name, in brackets, may hold anything; the third field follows its last bracket.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Which boot this is.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// The shell that waits at the gate. It becomes the program, under the same id, when it reads a line; where the adapter
/// dies before, it reads the end of the file and leaves without having run anything.
pub(crate) const SHELL: &str = "/bin/sh";
const GATE: &str = "read -r go && exec \"$0\" \"$@\" </dev/null";

/// A process that has an id and has not begun.
#[derive(Debug)]
pub(crate) struct Gated {
    gate: ChildStdin,
    pub(crate) process: Process,
    pub(crate) started: u64,
}

impl Gated {
    /// Blocks for as long as the system takes to fork.
    pub(crate) fn start(filled: &Filled, log: &Path) -> io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = Command::new(SHELL)
            .args(["-c", GATE, &filled.program])
            .args(&filled.arguments)
            .envs(filled.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // What ends the adapter from its terminal does not end them.
            .process_group(0)
            .spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        // Nobody else waits for it, so its id is its own until it is reaped.
        let opened = Pid::from_raw(pid).ok_or_else(|| io::Error::other("a process without an id"));
        let opened = opened.and_then(|id| Ok(pidfd_open(id, PidfdFlags::NONBLOCK)?));
        let known = opened.and_then(|pidfd| Process::new(pid, pidfd));
        let started = start_time(pid);
        match (child.stdin.take(), known, started) {
            (Some(gate), Ok(process), Some(started)) => Ok(Self { gate, process, started }),
            (gate, known, _) => {
                drop(gate);
                let _ = child.kill();
                let _ = child.wait();
                Err(known
                    .err()
                    .unwrap_or_else(|| io::Error::other("it ended before it began")))
            }
        }
    }

    /// Lets it begin.
    pub(crate) fn open(mut self) -> io::Result<Process> {
        self.gate.write_all(b"go\n")?;
        Ok(self.process)
    }

    /// It never begins.
    pub(crate) fn refuse(self) {
        drop(self.gate);
        self.process.signal(Signal::KILL);
        self.process.reap();
    }
}
