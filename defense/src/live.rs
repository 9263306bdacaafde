//! Rules that are replaced while they are asked.

use std::fmt;
use std::path::PathBuf;

use parking_lot::{Mutex, RwLock};
use thiserror::Error;

use crate::guard::Guard;
use crate::pack::PackErrors;

/// A guard whose packs can be read again while others ask it.
///
/// A question takes [`guard`](Self::guard) once and keeps the same rules to its end. A reload reads all files first; if
/// there is any fault, the rules in force stay in force and the error says which. There is no instant without rules, and
/// none with half of them.
///
/// ```
/// use unattended_defense::Live;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let live = Live::load(["packs/"])?;
/// let guard = live.guard();
/// match live.reload() {
///     Ok(changed) => assert!(!changed, "nobody touched the files"),
///     Err(refused) => eprintln!("{refused}"),
/// }
/// assert_eq!(guard.digest(), live.guard().digest());
/// # Ok(())
/// # }
/// ```
pub struct Live {
    paths: Vec<PathBuf>,
    guard: RwLock<Guard>,
    /// Held while files are read, so that of two reloads the later one wins.
    reloading: Mutex<()>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("paths", &self.paths)
            .field("digest", &self.guard().digest())
            .finish_non_exhaustive()
    }
}

/// New rules had faults and are not in force.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the new rules have faults and are not in force; those of digest {in_force} stay:\n{errors}")]
#[non_exhaustive]
pub struct ReloadError {
    /// The digest of the rules that stay in force.
    pub in_force: String,
    /// Every fault of the new ones.
    pub errors: PackErrors,
}

impl Live {
    /// Reads files and directories, as [`Guard::load_all`] does.
    ///
    /// # Errors
    /// As there: with faulty rules there is nothing to begin with.
    pub fn load<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Result<Self, PackErrors> {
        let paths: Vec<PathBuf> = paths.into_iter().map(Into::into).collect();
        let guard = Guard::load_all(&paths)?;
        Ok(Self {
            paths,
            guard: RwLock::new(guard),
            reloading: Mutex::new(()),
        })
    }

    /// The rules in force. Cheap: the guard is shared, not copied.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.guard.read().clone()
    }

    /// Reads everything again; whether the rules changed.
    ///
    /// # Errors
    /// All faults of all files. The rules in force stay in force.
    pub fn reload(&self) -> Result<bool, ReloadError> {
        let _only = self.reloading.lock();
        let new = Guard::load_all(&self.paths).map_err(|errors| ReloadError {
            in_force: self.guard().digest().to_owned(),
            errors,
        })?;
        let changed = new.digest() != self.guard().digest();
        if changed {
            *self.guard.write() = new;
        }
        Ok(changed)
    }
}
