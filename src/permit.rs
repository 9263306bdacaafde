use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use unattended_upgrade::Clock;

/// Read before each effect, at each turn and for births: may anything still be done?
///
/// It works with journal, metrics and rules down, so an implementation should be no more than a file, a flag or a key
/// that anybody on call can flip.
pub trait Permit: Send + Sync {
    /// `Ok(true)` permits the effect. `Ok(false)` and every error mean: no effect now.
    fn may_act(&self) -> Result<bool, PermitError>;
}

/// Why no effect is permitted now; `None` where one is.
pub(crate) fn refusal(permit: &dyn Permit) -> Option<String> {
    match permit.may_act() {
        Ok(true) => None,
        Ok(false) => Some("it says no".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// Births obey the permit within this time.
const RECENT_MS: u64 = 1_000;

/// The permit as births ask for it. There may be many a second, so its last word holds for a while.
pub(crate) struct RecentPermit {
    permit: Arc<dyn Permit>,
    clock: Arc<dyn Clock>,
    /// When it was read, and whether it permitted.
    read: Mutex<Option<(u64, bool)>>,
}

impl RecentPermit {
    pub(crate) fn new(permit: Arc<dyn Permit>, clock: Arc<dyn Clock>) -> Self {
        let read = Mutex::new(None);
        Self { permit, clock, read }
    }

    /// Whether it permits effects, or did less than a second ago.
    pub(crate) fn may_act(&self) -> bool {
        let now_ms = self.clock.now();
        let mut read = self.read.lock();
        match *read {
            Some((at_ms, may)) if now_ms < at_ms.saturating_add(RECENT_MS) => may,
            _ => {
                let may = self.permit.may_act() == Ok(true);
                *read = Some((now_ms, may));
                may
            }
        }
    }
}

impl fmt::Debug for RecentPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecentPermit").finish_non_exhaustive()
    }
}

/// The permit cannot be read, which means stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the permit cannot be read: {0}")]
#[expect(clippy::exhaustive_structs, reason = "a reason is all there is")]
pub struct PermitError(pub String);

/// Everything is permitted; the freeze of the [`Handle`](crate::Handle) still works.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state")]
pub struct AlwaysPermit;

impl Permit for AlwaysPermit {
    fn may_act(&self) -> Result<bool, PermitError> {
        Ok(true)
    }
}

/// A permit that is a file: it permits while the first word in the file is `go`, and forbids while it is `stop`. A file that is
/// not there, cannot be read or says anything else means stop too.
///
/// Anybody who may write the file stops the change, from another process or machine, whatever becomes of the controller: the
/// word stays when that is killed and started again. The file is read anew before each effect, which blocks the thread for as
/// long as the read takes: keep it on a local disk.
///
/// ```
/// use unattended::{FilePermit, Permit};
///
/// let path = tempfile::tempdir()?.keep().join("permit");
/// let permit = FilePermit::new(&path);
/// assert!(permit.may_act().is_err()); // not there: stop
/// std::fs::write(&path, "go\n")?;
/// assert_eq!(permit.may_act(), Ok(true));
/// std::fs::write(&path, "stop: INC-42, li\n")?;
/// assert_eq!(permit.may_act(), Ok(false));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FilePermit {
    path: PathBuf,
}

/// More than the longest first word that means anything.
const READ_BYTES: u64 = 64;

impl FilePermit {
    /// The permit at `path`, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl Permit for FilePermit {
    fn may_act(&self) -> Result<bool, PermitError> {
        let unreadable = |error: std::io::Error| PermitError(format!("{}: {error}", self.path.display()));
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(READ_BYTES).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(PermitError(format!("{}: it is not there", self.path.display())));
            }
            Err(error) => return Err(unreadable(error)),
            Ok(_) => {}
        }
        let word = |byte: &u8| byte.is_ascii_alphabetic();
        let first: Vec<u8> = (bytes.iter().skip_while(|byte| byte.is_ascii_whitespace()))
            .take_while(|byte| word(byte))
            .copied()
            .collect();
        match first.as_slice() {
            b"go" => Ok(true),
            b"stop" => Ok(false),
            _ => Err(PermitError(format!(
                "{}: it says neither `go` nor `stop`",
                self.path.display()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_go_permits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("permit");
        let permit = FilePermit::new(&path);
        let said = |text: &[u8]| {
            std::fs::write(&path, text).unwrap();
            permit.may_act()
        };
        for go in ["go", "go\n", " \n go on, says li", "go: until noon"] {
            assert_eq!(said(go.as_bytes()), Ok(true), "{go:?}");
        }
        for stop in ["stop", "stop\n", "\tstop (INC-42)"] {
            assert_eq!(said(stop.as_bytes()), Ok(false), "{stop:?}");
        }
        for neither in [
            "", "\n", "Go", "GO", "gone", "goto", "g", "# go", "no", "stopgo", "yes", "1",
        ] {
            let error = said(neither.as_bytes()).unwrap_err().to_string();
            assert!(
                error.contains("neither") && error.contains("permit"),
                "{neither:?}: {error}"
            );
        }
        // Half a write of something huge, and bytes that are no text.
        assert!(said(&[b' '; 4096]).is_err());
        assert!(said(&[0xff, b'g', b'o']).is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(permit.may_act().unwrap_err().to_string().contains("not there"));
        std::fs::create_dir(&path).unwrap();
        assert!(permit.may_act().is_err());
    }
}
