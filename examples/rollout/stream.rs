//! What happens, as JSON lines, as it happens.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use futures::StreamExt;
use unattended::{ChangeEvent, Events, Handle};
use unattended_examples_support::Failure;

use crate::options::Options;

/// Who tells, in an envelope.
const SOURCE: &str = "/unattended/rollout";

/// The events of a run on their way to a file.
pub(crate) struct Stream {
    to: Option<(PathBuf, BufWriter<File>)>,
    cloud: bool,
}

impl Stream {
    /// Opens the file: a change that is taken up goes on in it, any other begins it anew.
    pub(crate) fn of(options: &Options, resumes: bool) -> Result<Self, Failure> {
        let Some(path) = options.events.as_deref().filter(|_| !options.dry_run) else {
            return Ok(Self { to: None, cloud: false });
        };
        let mut how = OpenOptions::new();
        how.create(true).read(true).write(true).truncate(!resumes);
        let file = how.open(path).and_then(|mut file| cut_torn(&mut file).map(|()| file));
        let file = file.map_err(|error| refused(path, &error))?;
        Ok(Self {
            to: Some((path.to_owned(), BufWriter::new(file))),
            cloud: options.cloud_events,
        })
    }

    /// Whether a change that is told of before it begins can be; the run need not have begun.
    pub(crate) fn listen(&self, handle: &Handle) -> Option<Events> {
        self.to.as_ref().map(|_| handle.events())
    }

    /// Writes what there is, for as long as the run lasts. What can be written no longer ends it.
    pub(crate) async fn follow(&mut self, events: Option<&mut Events>) -> Failure {
        let Some(events) = events else {
            return std::future::pending().await;
        };
        loop {
            if let Err(failure) = self.drain(events) {
                return failure;
            }
            match events.next().await {
                Some(event) => {
                    if let Err(failure) = self.write(event) {
                        return failure;
                    }
                }
                None => return std::future::pending().await,
            }
        }
    }

    /// Writes all that has happened so far.
    pub(crate) fn drain(&mut self, events: &mut Events) -> Result<(), Failure> {
        while let Some(event) = events.try_next() {
            self.write(event)?;
        }
        match &mut self.to {
            Some((path, out)) => out.flush().map_err(|error| refused(path, &error)),
            None => Ok(()),
        }
    }

    fn write(&mut self, event: ChangeEvent) -> Result<(), Failure> {
        let Some((path, out)) = &mut self.to else {
            return Ok(());
        };
        let line = if self.cloud {
            serde_json::to_string(&event.into_cloud_event(SOURCE))
        } else {
            serde_json::to_string(&event)
        };
        let line = line.map_err(Failure::internal)?;
        writeln!(out, "{line}").map_err(|error| refused(path, &error))
    }
}

/// A run that was killed may have left half a line, which would make one with the first of the next run.
fn cut_torn(file: &mut File) -> std::io::Result<()> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = [0; 4_096];
    while end > 0 {
        let from = end.saturating_sub(block.len() as u64);
        let read = &mut block[..usize::try_from(end - from).unwrap_or_default()];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(read)?;
        if let Some(at) = read.iter().rposition(|&byte| byte == b'\n') {
            end = from + at as u64 + 1;
            break;
        }
        end = from;
    }
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end)).map(|_| ())
}

fn refused(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Input(format!(
        "{}: events cannot be written there: {error}; name another file by --events",
        path.display()
    ))
}
