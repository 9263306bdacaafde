//! A directory to run the program in, and what it says there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The page that says what the program prints.
pub(crate) const PAGE: &str = include_str!("../../docs/rollout.md");
/// A fleet that takes a moment.
pub(crate) const SMALL: [&str; 2] = ["--synthetic", "60x4"];

/// Where cargo puts examples: it builds them before it runs tests.
fn program(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let path = profile
        .join("examples")
        .join(format!("{example}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.exists(),
        "{}: build it with `cargo build --example {example}`",
        path.display()
    );
    path
}

/// A directory to run in.
pub(crate) struct Desk {
    dir: TempDir,
}

/// What a run said.
#[derive(Debug)]
pub(crate) struct Said {
    /// `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path(name), content).unwrap();
        self
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Every file with its bytes.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                let bytes = self.read(&name);
                (name, bytes)
            })
            .collect()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.example("rollout", arguments)
    }

    /// Another program than `rollout`.
    pub(crate) fn example(&self, name: &str, arguments: &[&str]) -> Said {
        let output = Command::new(program(name))
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let said = Said {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!said.stderr.contains("panicked"), "{arguments:?}: {}", said.stderr);
        said
    }

    /// A run whose standard output goes to a device that is always full.
    #[cfg(target_os = "linux")]
    pub(crate) fn run_to_full(&self, name: &str, arguments: &[&str]) -> Said {
        let output = Command::new(program(name))
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        Said {
            code: output.status.code(),
            stdout: String::new(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A run that may write no file beyond so many blocks, as on a disk that gets full.
    #[cfg(target_os = "linux")]
    pub(crate) fn run_with_little_room(&self, blocks: u32, arguments: &[&str]) -> Said {
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""))
            .arg(program("rollout"))
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        Said {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a small fleet and gives the object of the last line.
    #[track_caller]
    pub(crate) fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let said = self.run(&[&SMALL, arguments, &["--json"]].concat());
        assert_eq!(said.code, Some(code), "{arguments:?}: {said:?}");
        said.last_line()
    }
}

impl Said {
    #[track_caller]
    pub(crate) fn last_line(&self) -> Value {
        let last = self
            .stdout
            .trim_end()
            .lines()
            .last()
            .unwrap_or_else(|| panic!("nothing on stdout: {self:?}"));
        let value: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}"));
        assert!(value.is_object(), "{last}");
        value
    }
}

/// Input that cannot be used: exit code 2, the words on standard error, nothing on standard output, nothing touched.
#[track_caller]
pub(crate) fn refused(desk: &Desk, arguments: &[&str], words: &[&str]) {
    let before = desk.files();
    let said = desk.run(arguments);
    assert_eq!(said.code, Some(2), "{arguments:?}: {said:?}");
    assert_eq!(said.stdout, "", "{arguments:?}");
    for word in words {
        assert!(
            said.stderr.contains(word),
            "{arguments:?}: no `{word}` in: {}",
            said.stderr
        );
    }
    let after = desk.files();
    let left: Vec<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    assert!(left.is_empty(), "{arguments:?} left {left:?} behind");
    assert!(before == after, "{arguments:?} changed a file");
}

/// The names in the first column of a table of the page, the one whose heading is `field`, after `heading`.
pub(crate) fn documented(heading: &str) -> BTreeSet<String> {
    let after = PAGE.split(heading).nth(1).unwrap();
    let rows = after.lines().skip_while(|line| !line.starts_with("| field")).skip(2);
    let cells = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').nth(1).unwrap().to_owned());
    cells
        .flat_map(|cell| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(ToOwned::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

pub(crate) fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

pub(crate) fn dump(desk: &Desk, journal: &str) -> Vec<Value> {
    let said = desk.run(&["--dump", "--journal", journal]);
    assert_eq!(said.code, Some(0), "{said:?}");
    said.stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
