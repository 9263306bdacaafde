//! What a binary of Envoy is asked before it runs: its protocol of hot restarts, and whether it takes a configuration.
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

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

/// Runs a program to its end, or kills it when its time is over. Gives whether it succeeded, and all that it printed.
async fn run(binary: &str, arguments: Vec<String>, limit_ms: u64) -> Result<(bool, String), String> {
    let cannot = |error: std::io::Error| format!("cannot run {binary}: {error}");
    let child = Command::new(binary)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // Its id is its own until it is waited for, and that has not begun.
    let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let mut ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    let Ok(output) = tokio::time::timeout(Duration::from_millis(limit_ms), &mut ended).await else {
        if let Some(pidfd) = pidfd {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
        let _ = ended.await;
        return Err(format!("{binary}: no answer within {limit_ms} ms"));
    };
    let output = output
        .map_err(|error| cannot(std::io::Error::other(error)))?
        .map_err(cannot)?;
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    Ok((output.status.success(), said.join("\n")))
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

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        // `cat` without arguments would end at once: its input is empty. A pipe that nobody writes to does not end.
        let fifo = tempfile::tempdir().unwrap();
        let path = fifo.path().join("never");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let cat = wait(super::run("/bin/cat", vec![path.display().to_string()], 100));
        assert_eq!(cat, Err("/bin/cat: no answer within 100 ms".to_owned()));
    }
}
