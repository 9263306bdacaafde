//! Where report, events and record go: looked at before anything is done.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use unattended_examples_support::Failure;

use crate::options::Options;
use crate::output::report_path;

/// What cannot be written is said before anything is done, and what would be written over too.
pub(crate) fn check(options: &Options) -> Result<(), Failure> {
    if options.dry_run {
        return Ok(());
    }
    if let Some(path) = report_path(options) {
        check_is_free(&path, options)?;
        check_report(&path)?;
    }
    for (path, what) in [
        (&options.events, "the file of events (--events)"),
        (&options.record, "the record (--record)"),
    ] {
        if let Some(path) = path {
            try_it(path).map_err(|error| unwritten(path, what, &error))?;
        }
    }
    Ok(())
}

/// The report is written over nothing else that this run has.
fn check_is_free(path: &Path, options: &Options) -> Result<(), Failure> {
    let inventory = options.inventory.as_ref().map(PathBuf::from);
    let taken = [
        inventory,
        options.world.clone(),
        options.journal.clone(),
        options.record.clone(),
        options.events.clone(),
    ];
    let log = options.journal.as_deref().map(crate::world_log);
    let taken = taken
        .into_iter()
        .flatten()
        .chain(log)
        .chain(options.rules.iter().cloned());
    for other in taken {
        if is_same_file(path, &other) {
            return Err(Failure::Input(format!(
                "{}: the report would be written over {}: name another file for it",
                path.display(),
                other.display()
            )));
        }
    }
    Ok(())
}

fn check_report(path: &Path) -> Result<(), Failure> {
    if path.is_dir() || !folder(path).is_dir() {
        return Err(Failure::Input(format!(
            "{}: the report cannot be written there: name a file in a folder that exists",
            path.display()
        )));
    }
    let tried = match beside(path) {
        Some((_, new)) => try_it(&new),
        None => try_it(path),
    };
    tried.map_err(|error| unwritten(path, "the report (--report)", &error))
}

/// Where a page goes that is to be there whole or not at all: its own path, and the one it is written to first. None for a link to what
/// is not there yet, and for what is no file, as `/dev/null`: they are written to as they are.
pub(crate) fn beside(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let known = std::fs::canonicalize(path);
    let path = known.as_deref().unwrap_or(path);
    if path.exists() && !path.is_file() || path.is_symlink() {
        return None;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    Some((path.to_owned(), new.into()))
}

/// Opens it as it will be opened, and leaves it as it was. A pipe is left alone: its reader would take this for the end.
fn try_it(path: &Path) -> std::io::Result<()> {
    let there = path.exists();
    if there && !path.is_file() && !path.is_dir() {
        return Ok(());
    }
    OpenOptions::new().create(true).append(true).open(path)?;
    if !there {
        // By way of a link, it is the file behind it that was made.
        std::fs::remove_file(std::fs::canonicalize(path)?)?;
    }
    Ok(())
}

/// A fault of a place, with the remedy.
pub(crate) fn unwritten(path: &Path, what: &str, error: &std::io::Error) -> Failure {
    Failure::unwritten(format_args!("{}: {what}", path.display()), error)
}

fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}

/// Whether two paths name one file, there already or not.
fn is_same_file(left: &Path, right: &Path) -> bool {
    let whole = |path: &Path| {
        let folder = folder(path).canonicalize().ok()?;
        path.canonicalize()
            .ok()
            .or_else(|| Some(folder.join(path.file_name()?)))
    };
    left == right || whole(left).is_some_and(|left| Some(left) == whole(right))
}
