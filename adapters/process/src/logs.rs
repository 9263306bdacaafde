//! Logs of processes: files that they append to themselves, so that they outlive the adapter; cut by copying.
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Where the log of a seat lies.
pub(crate) fn log_of(directory: &Path, seat: usize) -> PathBuf {
    directory.join(["a.log", "b.log", "application.log"][seat.min(2)])
}

/// Moves what a log holds into `LOG.1`, and what was there into `LOG.2` and so on, once it is longer than `bytes`.
///
/// The process keeps its descriptor, which appends: it goes on at the beginning. What it writes in the instant between the
/// last look at the length and the cut is lost. Blocks for as long as a copy takes.
pub(crate) fn rotate(log: &Path, bytes: u64, files: u32) -> io::Result<bool> {
    let length = match log.metadata() {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if length <= bytes {
        return Ok(false);
    }
    let name = |number: u32| PathBuf::from(format!("{}.{number}", log.display()));
    if files > 0 {
        for number in (1..files).rev() {
            match std::fs::rename(name(number), name(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let mut old = File::open(log)?;
        let mut copy = File::create(name(1))?;
        let mut copied = 0;
        // A process that writes faster than this copies is not waited for.
        for _ in 0..8 {
            old.seek(SeekFrom::Start(copied))?;
            let more = io::copy(&mut Read::by_ref(&mut old).take(u64::MAX), &mut copy)?;
            copied += more;
            if more == 0 {
                break;
            }
        }
        copy.flush()?;
    }
    OpenOptions::new().write(true).open(log)?.set_len(0)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;

    use super::rotate;

    #[test]
    fn full_logs_are_kept_in_order_and_the_writer_goes_on() {
        let place = tempfile::tempdir().unwrap();
        let log = place.path().join("a.log");
        assert!(!rotate(&log, 4, 2).unwrap(), "there is none");
        let mut writer = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let read = |name: &str| std::fs::read_to_string(place.path().join(name)).ok();
        writer.write_all(b"1234").unwrap();
        assert!(!rotate(&log, 4, 2).unwrap(), "it is as long as it may be");
        writer.write_all(b"5").unwrap();
        assert!(rotate(&log, 4, 2).unwrap());
        assert_eq!(
            (read("a.log"), read("a.log.1")),
            (Some(String::new()), Some("12345".to_owned()))
        );
        for text in ["second", "third", "4"] {
            writer.write_all(text.as_bytes()).unwrap();
            rotate(&log, 4, 2).unwrap();
        }
        assert_eq!(read("a.log").as_deref(), Some("4"));
        assert_eq!(read("a.log.1").as_deref(), Some("third"));
        assert_eq!(read("a.log.2").as_deref(), Some("second"));
        assert_eq!(read("a.log.3"), None);
        writer.write_all(b"56789").unwrap();
        assert!(rotate(&log, 4, 0).unwrap());
        assert_eq!(read("a.log").as_deref(), Some(""));
        assert_eq!(
            read("a.log.1").as_deref(),
            Some("third"),
            "none is kept, and none is touched"
        );
    }
}
