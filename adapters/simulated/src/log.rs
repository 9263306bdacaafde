//! The world's memory on disk: what was done to it from outside, and what was born.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use unattended_upgrade::{AttemptId, EffectKey, Generation, HandoverOrder};

use crate::SimConfig;
use crate::draw::{hash_text, mix};

/// Why the world's log cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file cannot be read or written.
    #[error("the world's log {path} cannot be used: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Not such a log.
    #[error("{path} is not a world's log: its first line says no such thing; give another path", path = path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// The log of another world.
    #[error(
        "{path} belongs to another simulation (fleet, seed, release, versions or world differ); give the same \
         configuration, or another path", path = path.display()
    )]
    OtherWorld {
        /// The file.
        path: PathBuf,
    },
    /// A line within the file makes no sense.
    #[error("line {line} of the world's log {path} makes no sense: {reason}; restore the file or begin anew", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// What the file is.
    log: String,
    /// The format.
    version: u32,
    /// What the world is made of.
    digest: String,
}

impl Header {
    const NAME: &'static str = "unattended-simulated";

    pub(crate) fn of(config: &SimConfig) -> Self {
        let mut h = mix(config.seed);
        let mut add = |x: u64| h = mix(h ^ x).wrapping_add(0x9e37_79b9_7f4a_7c15);
        for text in [config.old.as_str(), config.new.as_str(), &config.release.to_string()] {
            add(hash_text(text));
        }
        add(config.start_wall_ms.cast_unsigned());
        for value in config.world.values() {
            add(value.to_bits());
        }
        // Worlds of before they had bad machines go on.
        if config.world.bad_node_share > 0.0 {
            for value in config.world.of_bad_nodes() {
                add(value.to_bits());
            }
        }
        for target in &config.targets {
            add(hash_text(&target.id));
            add(hash_text(&target.app));
            add(target.state as u64);
            for (key, value) in &target.labels {
                add(hash_text(key));
                add(hash_text(value));
            }
        }
        Self {
            log: Self::NAME.to_owned(),
            version: 1,
            digest: format!("{h:016x}"),
        }
    }
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EntryKind {
    Replace,
    ReplaceInPlace,
    Open,
    Close,
    Prefetch,
    Config,
    Spawn,
    Stop,
    Reset,
    HandOver,
    Fence,
    /// What newborns of a scope run; the scope stands in the target's place.
    Desired,
    Isolate,
    Readmit,
    Restart,
    Renew,
    Born,
    Died,
}

/// One line: something that was done to the world, or a birth or death.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// When, in virtual milliseconds.
    pub(crate) t: u64,
    pub(crate) target: String,
    pub(crate) effect: EntryKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// `attempt/generation/step/ordinal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reopen_by_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<u64>,
    /// Of a hand-over: the old version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<HandoverOrder>,
    /// Its number in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<u32>,
    /// Of an order to heal: `term/id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) heal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease_ms: Option<u64>,
}

impl Entry {
    /// With nothing that is not always there.
    pub(crate) fn new(t: u64, target: &str, effect: EntryKind) -> Self {
        Self {
            t,
            target: target.to_owned(),
            effect,
            version: None,
            key: None,
            reopen_by_ms: None,
            generation: None,
            from: None,
            order: None,
            instance: None,
            heal: None,
            lease_ms: None,
        }
    }
}

/// Reads a key as it is printed.
pub(crate) fn parse_key(text: &str) -> Option<EffectKey> {
    let mut parts = text.split('/');
    let key = EffectKey {
        attempt: AttemptId(parts.next()?.parse().ok()?),
        generation: Generation(parts.next()?.parse().ok()?),
        step: parts.next()?.parse().ok()?,
        ordinal: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(key)
}

/// The file, open at its end.
#[derive(Debug)]
pub(crate) struct WorldLog {
    file: File,
    /// Lines that the system has not been handed.
    lines: Vec<u8>,
    /// Each line is handed over by itself.
    at_once: bool,
}

/// Lines that are kept back are handed over when they are so many bytes, at the latest.
const MAX_KEPT_BYTES: usize = 1 << 20;

impl WorldLog {
    /// Opens the log, or begins it. A last line without its end was never answered for, and is cut off.
    pub(crate) fn open(path: &Path, header: &Header, at_once: bool) -> Result<(Self, Vec<Entry>), LogError> {
        let io = |source| LogError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        let first = serde_json::to_vec(header).unwrap_or_default();
        if whole == 0 {
            // Only a beginning of our own first line may be thrown away.
            if !first.starts_with(&bytes) {
                return Err(LogError::NotALog { path: path.to_owned() });
            }
            file.set_len(0).map_err(io)?;
            file.rewind().map_err(io)?;
            let mut log = Self {
                file,
                lines: first,
                at_once,
            };
            log.lines.push(b'\n');
            log.flush().map_err(io)?;
            return Ok((log, Vec::new()));
        }
        let entries = read_lines(path, &bytes[..whole], header)?;
        file.set_len(whole as u64).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        let log = Self {
            file,
            lines: Vec::new(),
            at_once,
        };
        Ok((log, entries))
    }

    /// Adds a line, and hands it to the operating system unless lines are kept back.
    pub(crate) fn append(&mut self, entry: &Entry) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.lines, entry)?;
        self.lines.push(b'\n');
        if self.at_once || self.lines.len() >= MAX_KEPT_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands what was kept back to the operating system.
    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        let written = self.file.write_all(&self.lines);
        self.lines.clear();
        written
    }
}

impl Drop for WorldLog {
    fn drop(&mut self) {
        // Whoever has to know whether this goes well has flushed before.
        let _ = self.flush();
    }
}

fn read_lines(path: &Path, bytes: &[u8], header: &Header) -> Result<Vec<Entry>, LogError> {
    let mut lines = bytes
        .split(|b| *b == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    let found: Option<Header> = lines.next().and_then(|(_, line)| serde_json::from_slice(line).ok());
    match found {
        Some(found) if found.log != Header::NAME => return Err(LogError::NotALog { path: path.to_owned() }),
        Some(found) if found != *header => return Err(LogError::OtherWorld { path: path.to_owned() }),
        Some(_) => {}
        None => return Err(LogError::NotALog { path: path.to_owned() }),
    }
    let mut entries: Vec<Entry> = Vec::new();
    for (number, line) in lines {
        let fail = |reason: String| LogError::Line {
            path: path.to_owned(),
            line: number + 1,
            reason,
        };
        let entry: Entry = serde_json::from_slice(line).map_err(|e| fail(e.to_string()))?;
        if entries.last().is_some_and(|last| last.t > entry.t) {
            return Err(fail("it lies before the line above".to_owned()));
        }
        entries.push(entry);
    }
    Ok(entries)
}
