//! One process: started behind a gate as nobody's child, known by its pidfd, found again by pid and start time.
use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

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

    /// Takes its exit status where this process is the one to which orphans come: init, or a subreaper. Else somebody else
    /// is, and does.
    pub(crate) fn reap(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let _ = waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(self.pidfd.get_ref())), options);
    }
}

/// When a process began, in the kernel's ticks since boot; `None` if there is none, or nothing but its exit status.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    stat(pid).map(|(_, started)| started)
}

/// The parent of a process that lives, and when it began.
fn stat(pid: i32) -> Option<(u32, u64)> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name, in brackets, may hold anything; the third field follows its last bracket.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    Some((parent, fields.nth(17)?.parse().ok()?))
}

/// Which boot this is.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// The shell that waits at the gate. It says who it is, and becomes the program, under the same id, when it reads a line;
/// where the adapter dies before, it reads the end of the file and leaves without having run anything.
pub(crate) const SHELL: &str = "/bin/sh";
const GATE: &str = "echo $$ >&0 && read -r go && exec \"$0\" \"$@\" </dev/null";

/// The shell that starts it, and is ended before the gate opens: the program is an orphan by then. One that wants to die
/// with its parent, as Envoy does (`PR_SET_PDEATHSIG`), would else end with the adapter, and even with the thread of the
/// adapter that has started it. A pipe, since what a shell starts with `&` is deaf to interrupts for good.
const PARENT: &str = "exec 3>&1; /bin/sh -c \"$0\" \"$@\" >&3 3>&- | :";

/// How long a shell may take to say that it stands at the gate.
const GATE_WAIT: Duration = Duration::from_secs(30);

/// A process that has an id and has not begun.
#[derive(Debug)]
pub(crate) struct Gated {
    gate: UnixStream,
    pub(crate) process: Process,
    pub(crate) started: u64,
}

impl Gated {
    /// Blocks for as long as the system takes to fork.
    pub(crate) fn start(filled: &Filled, log: &Path) -> io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let (gate, stands_at) = UnixStream::pair()?;
        let mut parent = Command::new(SHELL)
            .args(["-c", PARENT, GATE, &filled.program])
            .args(&filled.arguments)
            .envs(filled.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(OwnedFd::from(stands_at)))
            .stdout(log.try_clone()?)
            .stderr(log)
            // What ends the adapter from its terminal does not end them.
            .process_group(0)
            .spawn()?;
        let met = Self::meet(&gate, parent.id());
        // Where nobody was met, whoever comes to the gate finds it closed.
        let _ = parent.kill();
        parent.wait()?;
        let (process, started) = met?;
        Ok(Self { gate, process, started })
    }

    /// Whoever stands at the gate.
    fn meet(gate: &UnixStream, parent: u32) -> io::Result<(Process, u64)> {
        let ended = || io::Error::other("it ended before it began");
        gate.set_read_timeout(Some(GATE_WAIT))?;
        let mut said = String::new();
        // Nothing else is said, so nothing is lost with what was read ahead.
        BufReader::new(gate.take(32)).read_line(&mut said)?;
        let pid: i32 = said.trim().parse().map_err(|_| ended())?;
        let id = Pid::from_raw(pid).ok_or_else(ended)?;
        let process = Process::new(pid, pidfd_open(id, PidfdFlags::NONBLOCK)?)?;
        // The id may have gone to another one before the descriptor, but that one has another parent.
        match stat(pid) {
            Some((of, started)) if of == parent => Ok((process, started)),
            _ => Err(ended()),
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
