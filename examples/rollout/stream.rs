//! What happens, as JSON lines, as it happens.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use futures::StreamExt;
use unattended::{ChangeEvent, Events, Handle};
use unattended_examples_support::Failure;

use crate::options::Options;
use crate::places::unwritten;

/// Who tells, in an envelope.
const SOURCE: &str = "/unattended/rollout";
/// How much of a file is looked at in one go for the end of its last whole line.
const LOOK: u64 = 64 * 1_024;

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
        how.create(true).write(true).append(resumes).truncate(!resumes);
        let opened = how.open(path).and_then(|file| {
            if resumes {
                cut_torn_line(path)?;
            }
            Ok(file)
        });
        let file = opened.map_err(|error| refused(path, &error))?;
        Ok(Self {
            to: Some((path.to_owned(), BufWriter::new(file))),
            cloud: options.cloud_events,
        })
    }

    /// Whether a change that is told of before it begins can be; the run need not have begun.
    pub(crate) fn listen(&self, handle: &Handle) -> Option<Events> {
        self.to.as_ref().map(|_| handle.events())
    }

    /// Writes what there is, for as long as the run lasts, or until it cannot be written any more: then that is said, and the run goes on
    /// without.
    pub(crate) async fn follow(&mut self, events: &mut Option<Events>) {
        while let Some(to) = events {
            self.drain(to);
            if self.to.is_none() {
                // Nobody reads them any more, and nobody is to keep them.
                *events = None;
                break;
            }
            match to.next().await {
                Some(event) => self.write(event),
                None => break,
            }
        }
        std::future::pending().await
    }

    /// Writes all that has happened so far.
    pub(crate) fn drain(&mut self, events: &mut Events) {
        while let Some(event) = events.try_next() {
            self.write(event);
        }
        let flushed = self.to.as_mut().map_or(Ok(()), |(_, out)| out.flush());
        self.went_on(flushed);
    }

    fn write(&mut self, event: ChangeEvent) {
        let Some((_, out)) = &mut self.to else { return };
        let line = if self.cloud {
            serde_json::to_string(&event.into_cloud_event(SOURCE))
        } else {
            serde_json::to_string(&event)
        };
        let written = line
            .map_err(std::io::Error::from)
            .and_then(|line| writeln!(out, "{line}"));
        self.went_on(written);
    }

    /// A file of events watches the change and drives nothing, so its loss stops nothing. It is said once, and what is there stays a file of
    /// whole lines without a hole.
    fn went_on(&mut self, written: std::io::Result<()>) {
        let Err(error) = written else { return };
        let Some((path, out)) = self.to.take() else { return };
        // What waits to be written would only be torn again.
        drop(out.into_parts());
        let _ = cut_torn_line(&path);
        let _ = refused(&path, &error).told();
        eprintln!("{}: it ends here, and the change goes on without", path.display());
    }
}

/// Cuts what stands behind the last whole line: whoever wrote it was killed on the way, and the next line would be glued to it.
fn cut_torn_line(path: &Path) -> std::io::Result<()> {
    if !path.is_file() {
        return Ok(());
    }
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let mut end = length;
    while end > 0 {
        let from = end.saturating_sub(LOOK);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        (&file).take(end - from).read_to_end(&mut bytes)?;
        if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') {
            end = from + at as u64 + 1;
            break;
        }
        end = from;
    }
    if end < length { file.set_len(end) } else { Ok(()) }
}

fn refused(path: &Path, error: &std::io::Error) -> Failure {
    unwritten(path, "the file of events (--events)", error)
}
