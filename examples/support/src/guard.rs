//! Watches the bytes on their way to a parser, so that hostile input costs no memory and gets a plain message.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::sync::Arc;

use crate::{InputError, Place, Spot};

/// What one line, row or pod may need at most. The largest object that a Kubernetes API server stores has 1.5 MiB.
const RECORD_LIMIT: u64 = 8 << 20;

/// What the guard saw, shared with the code behind the parser.
///
/// A parser reports a failed read in words of its own; the first cause stands here.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    since_record: Cell<u64>,
    lines: Cell<u64>,
    trouble: RefCell<Option<Trouble>>,
}

#[derive(Debug)]
enum Trouble {
    Nul { line: u64 },
    TooLong,
    System(io::Error),
}

impl Watch {
    /// A record is complete: the next may need the whole limit again.
    pub(crate) fn record_done(&self) {
        self.since_record.set(0);
    }

    /// The cause of a failed read, if the guard or the system stopped it. `record` says what is being read at `spot`.
    pub(crate) fn cause(&self, file: &Arc<str>, spot: Spot, record: &'static str) -> Option<InputError> {
        let file = Arc::clone(file);
        Some(match self.trouble.borrow_mut().take()? {
            Trouble::Nul { line } => InputError::Binary {
                place: Place {
                    file,
                    spot: Spot::Line(line),
                },
                what: "contains a NUL byte",
            },
            Trouble::TooLong => InputError::TooLong {
                place: Place { file, spot },
                what: record,
                limit_mib: RECORD_LIMIT >> 20,
            },
            Trouble::System(error) => unreadable(file, &error),
        })
    }
}

/// The message for an error of the system.
pub(crate) fn unreadable(file: Arc<str>, error: &io::Error) -> InputError {
    let fix = match error.kind() {
        io::ErrorKind::NotFound => "check the spelling and the directory; `-` stands for standard input",
        io::ErrorKind::PermissionDenied => "give this user the right to read it",
        io::ErrorKind::IsADirectory => "name a file in it",
        _ => "try again, or copy the file to a local disk first",
    };
    InputError::Unreadable {
        file,
        why: error.to_string(),
        fix,
    }
}

/// The reader that watches.
#[derive(Debug)]
pub(crate) struct Guard<'w, R> {
    inner: R,
    watch: &'w Watch,
}

impl<'w, R: Read> Guard<'w, R> {
    pub(crate) const fn new(inner: R, watch: &'w Watch) -> Self {
        Self { inner, watch }
    }

    fn stop(&self, trouble: Trouble) -> io::Error {
        *self.watch.trouble.borrow_mut() = Some(trouble);
        io::Error::other("stopped by the guard")
    }
}

impl<R: Read> Read for Guard<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.watch.since_record.get() > RECORD_LIMIT {
            return Err(self.stop(Trouble::TooLong));
        }
        let read = loop {
            match self.inner.read(buffer) {
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.stop(Trouble::System(error))),
            }
        };
        let bytes = &buffer[..read];
        let nul = bytes.iter().position(|byte| *byte == 0);
        let before = &bytes[..nul.unwrap_or(read)];
        let breaks = before.iter().filter(|byte| **byte == b'\n').count();
        self.watch
            .lines
            .set(self.watch.lines.get() + u64::try_from(breaks).unwrap_or(u64::MAX));
        if nul.is_some() {
            return Err(self.stop(Trouble::Nul {
                line: self.watch.lines.get() + 1,
            }));
        }
        self.watch
            .since_record
            .set(self.watch.since_record.get() + u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}
