//! What a binary of Envoy is asked before it runs: its protocol of hot restarts, and whether it takes a configuration.
use std::fmt;
use std::io::{self, Read as _};
use std::ops::RangeInclusive;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::process::{Process, start_time};

/// The version of the protocol by which an Envoy takes over from another: exactly equal ones understand each other.
///
/// As Envoy prints it: the version of the messages, and the size of the memory that both map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HotRestartVersion {
    messages: u32,
    memory: u32,
}

impl HotRestartVersion {
    /// From what `envoy --hot-restart-version` or `/hot_restart_version` prints, as `11.104`.
    pub fn parse(text: &str) -> Option<Self> {
        let (messages, memory) = text.trim().split_once('.')?;
        let number = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| text.parse().ok())?
        };
        let (messages, memory) = (number(messages)?, number(memory)?);
        (memory < 1_000 && messages < 1_000_000).then_some(Self { messages, memory })
    }

    /// As [`Facts::protocols`](unattended_upgrade::Facts::protocols) takes it: 11.104 is 11104, and nothing else is spoken.
    ///
    /// ```
    /// let version = unattended_process::HotRestartVersion::parse("11.104").unwrap();
    /// assert_eq!(version.protocols(), 11_104..=11_104);
    /// ```
    pub const fn protocols(self) -> RangeInclusive<u32> {
        let number = self.messages * 1_000 + self.memory;
        number..=number
    }
}

impl fmt::Display for HotRestartVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.messages, self.memory)
    }
}

/// Asks a binary which protocol of hot restarts it speaks. It prints that on its standard error.
pub(super) async fn hot_restart_version(binary: &str, limit_ms: u64) -> Result<HotRestartVersion, String> {
    let (_, said) = run(binary, vec!["--hot-restart-version".to_owned()], limit_ms).await?;
    said.lines().find_map(HotRestartVersion::parse).ok_or_else(|| {
        format!(
            "{binary}: does not say which version of hot restarts it speaks: `{}`",
            last_line(&said)
        )
    })
}

/// Lets a binary read a configuration, and says in its own words what it does not like.
pub(super) async fn validate(binary: &str, file: &Path, limit_ms: u64) -> Result<(), String> {
    let arguments = ["--mode", "validate", "-l", "critical", "-c"].map(str::to_owned);
    let arguments = arguments.into_iter().chain([file.display().to_string()]).collect();
    let (good, said) = run(binary, arguments, limit_ms).await?;
    if good {
        return Ok(());
    }
    Err(format!("{binary} refuses {}: {}", file.display(), last_line(&said)))
}

/// The last line with words in it, cut to what a report can hold.
fn last_line(text: &str) -> String {
    let line = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no word");
    line.trim().chars().take(400).collect()
}

/// How long the end of what was killed is waited for. Nothing is missed by whoever goes on without it.
const BURIED_WITHIN: Duration = Duration::from_secs(1);

/// Runs a program to its end, or kills it and what it has started when its time is over. Gives whether it succeeded, and all
/// that it printed.
async fn run(binary: &str, arguments: Vec<String>, limit_ms: u64) -> Result<(bool, String), String> {
    let cannot = |error: io::Error| format!("cannot run {binary}: {error}");
    let (mut prints, printed) = io::pipe().map_err(cannot)?;
    let mut child = Command::new(binary)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(printed.try_clone().map_err(cannot)?)
        .stderr(printed)
        .process_group(0)
        .spawn()
        .map_err(cannot)?;
    // Its id is its own, and its group's, until it is waited for at the end of this.
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let started = id.and_then(|id| start_time(id.as_raw_pid()));
    let found = id
        .zip(started)
        .map(|(id, started)| Process::find(id.as_raw_pid(), started));
    let process = found.transpose().map_err(cannot)?.flatten();
    // A thread that nobody waits for: whoever has left the group may hold the pipe for as long as it likes.
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let read = prints.read_to_end(&mut said);
        let _ = tell.send(read.map(|_| String::from_utf8_lossy(&said).into_owned()));
    });
    let mut ended = pin!(async {
        let said = told.await;
        if let Some(process) = &process {
            process.ended().await;
        }
        said
    });
    let said = tokio::time::timeout(Duration::from_millis(limit_ms), &mut ended).await;
    if said.is_err() {
        let _ = id.map(|id| kill_process_group(id, Signal::KILL));
        let _ = tokio::time::timeout(BURIED_WITHIN, ended).await;
    }
    // It is no zombie of this process for longer than that.
    let status = child.try_wait().map_err(cannot)?;
    let said = said.map_err(|_| format!("{binary}: no answer within {limit_ms} ms"))?;
    let said = said.map_err(io::Error::other).flatten().map_err(cannot)?;
    Ok((status.is_some_and(|status| status.success()), said))
}

#[cfg(test)]
mod tests {
    use super::{HotRestartVersion, hot_restart_version, last_line, validate};

    #[test]
    fn a_version_is_two_numbers() {
        let version = HotRestartVersion::parse("11.104\n").unwrap();
        assert_eq!(
            (version.to_string().as_str(), version.memory, version.messages),
            ("11.104", 104, 11)
        );
        assert_ne!(
            version.protocols(),
            HotRestartVersion::parse("12.104").unwrap().protocols()
        );
        assert_ne!(
            version.protocols(),
            HotRestartVersion::parse("11.112").unwrap().protocols()
        );
        for wrong in [
            "",
            "11",
            "11.",
            ".104",
            "11.104.1",
            "a.b",
            "+1.1",
            "disabled",
            "1.5000",
            "99999999999.1",
        ] {
            assert_eq!(HotRestartVersion::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_the_last_word_is_kept() {
        assert_eq!(last_line("a\nb \n\n"), "b");
        assert_eq!(last_line("\n"), "no word");
        assert_eq!(last_line(&"x".repeat(1_000)).len(), 400);
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_program_that_is_no_envoy_is_said_to_be_none() {
        let told = wait(hot_restart_version("/bin/echo", 5_000)).unwrap_err();
        assert!(
            told.contains("/bin/echo: does not say which version") && told.contains("--hot-restart-version"),
            "{told}"
        );
        let told = wait(hot_restart_version("/no/such/envoy", 5_000)).unwrap_err();
        assert!(told.starts_with("cannot run /no/such/envoy:"), "{told}");
        let file = std::path::Path::new("/tmp/c.json");
        assert_eq!(wait(validate("/bin/true", file, 5_000)), Ok(()));
        assert_eq!(
            wait(validate("/bin/false", file, 5_000)),
            Err("/bin/false refuses /tmp/c.json: no word".to_owned())
        );
    }

    /// A pipe that nobody writes to does not end, whoever reads it.
    #[test]
    fn a_program_that_does_not_end_is_ended_with_what_it_has_started() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("never");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let cat = wait(super::run("/bin/cat", vec![path.display().to_string()], 100));
        assert_eq!(cat, Err("/bin/cat: no answer within 100 ms".to_owned()));

        // It ends at once itself, and what it leaves behind holds its output.
        let text = format!("cat '{}' & echo $! >'{}/pid'", path.display(), place.path().display());
        let shell = wait(super::run("/bin/sh", vec!["-c".to_owned(), text], 1_000));
        assert_eq!(shell, Err("/bin/sh: no answer within 1000 ms".to_owned()));
        let pid = std::fs::read_to_string(place.path().join("pid")).unwrap();
        // It has let go of its output, and ends in a moment.
        let pid = pid.trim().parse().unwrap();
        let ends = (0..1_000_000).any(|_| crate::process::start_time(pid).is_none());
        assert!(ends, "what it has started goes on");
    }
}
