//! The journal's contract, and what becomes of damaged, foreign and busy files.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use futures::executor::block_on;
use unattended_redb::Redb;
use unattended_upgrade::{Group, Journal, JournalError, Position, Stream, conformance};

fn group(number: u64) -> Group {
    let mut group = Group::new();
    group.push(Stream(1), 1, &number.to_le_bytes());
    group.push(Stream(2), 7, &vec![b'x'; 700]);
    group
}

/// Fills a journal with `count` groups of two records.
fn fill(path: &Path, count: u64) {
    let journal = Redb::open(path).unwrap();
    for number in 0..count {
        assert_eq!(block_on(journal.append(&group(number))).unwrap(), number * 2);
    }
}

/// All groups are those of `fill`, from the first on without holes; gives how many.
fn prefix(journal: &Redb) -> u64 {
    let groups = block_on(journal.read(0, usize::MAX)).unwrap();
    for (number, (position, found)) in (0u64..).zip(&groups) {
        assert_eq!((*position, found), (number * 2, &group(number)));
    }
    let count = u64::try_from(groups.len()).unwrap();
    assert_eq!(block_on(journal.end()).unwrap(), count * 2);
    count
}

#[test]
fn conforms_and_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for (name, open) in [
        ("durable", (|path| Redb::open(path)) as fn(&Path) -> _),
        ("scratch", |path| Redb::scratch(path)),
    ] {
        let path = dir.path().join(name);
        let journal: Redb = open(&path).unwrap();
        block_on(conformance::journal_suite(&journal)).unwrap();
        drop(journal);
        let journal: Redb = open(&path).unwrap();
        block_on(conformance::journal_holds(&journal)).unwrap();
    }
}

#[test]
fn an_open_file_is_refused_to_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let _first = Redb::open(&path).unwrap();
    let error = Redb::open(&path).unwrap_err();
    assert!(matches!(error, JournalError::InUse(_)), "{error}");
    assert!(error.to_string().contains("in use"), "{error}");
}

#[test]
fn a_copy_is_made_of_what_nobody_writes_and_of_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("journal"), dir.path().join("copy"));
    let written = Redb::open(&path).unwrap();
    block_on(written.append(&group(0))).unwrap();
    let error = Redb::copy(&path, &copy).unwrap_err();
    assert!(matches!(error, JournalError::InUse(_)), "{error}");
    assert!(!copy.exists());
    drop(written);
    Redb::copy(&path, &copy).unwrap();
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(&path).unwrap());
    // And the copying holds nothing any more.
    assert_eq!(prefix(&Redb::open(&path).unwrap()), prefix(&Redb::open(&copy).unwrap()));
}

#[test]
fn what_is_not_a_journal_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("letter", b"Dear diary, nothing happened.".to_vec()),
        ("short", b"hi".to_vec()),
        ("zeros", vec![0; 8192]),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, &content).unwrap();
        let error = Redb::open(&path).unwrap_err();
        assert!(matches!(error, JournalError::NotAJournal(_)), "{name}: {error}");
        assert_eq!(std::fs::read(&path).unwrap(), content, "{name}");
    }

    let path = dir.path().join("database");
    let database = redb::Database::create(&path).unwrap();
    let other = redb::TableDefinition::<u64, u64>::new("accounts");
    let transaction = database.begin_write().unwrap();
    transaction.open_table(other).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Redb::open(&path).unwrap_err();
    assert!(matches!(error, JournalError::NotAJournal(_)), "{error}");
    let database = redb::Database::open(&path).unwrap();
    let read = redb::ReadableDatabase::begin_read(&database).unwrap();
    assert_eq!(read.list_tables().unwrap().count(), 1);
}

#[test]
fn another_format_is_refused_with_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    fill(&path, 1);
    let database = redb::Database::open(&path).unwrap();
    let about = redb::TableDefinition::<&str, u64>::new("about");
    let transaction = database.begin_write().unwrap();
    transaction.open_table(about).unwrap().insert("format", 3).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert_eq!(Redb::open(&path).unwrap_err(), JournalError::Format { found: Some(3) });
}

/// Where positions end, neither an opening nor an append counts beyond.
#[test]
fn a_group_where_positions_end_is_damage() {
    let ends_behind_by = |records: u64| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        drop(Redb::open(&path).unwrap());
        let database = redb::Database::open(&path).unwrap();
        let groups = redb::TableDefinition::<u64, &[u8]>::new("groups");
        let write = database.begin_write().unwrap();
        let last = group(3);
        let first = u64::MAX - u64::from(last.len()) + records;
        write
            .open_table(groups)
            .unwrap()
            .insert(first, last.as_bytes())
            .unwrap();
        write.commit().unwrap();
        drop(database);
        let opened = Redb::open(&path);
        (dir, opened)
    };
    let (_dir, opened) = ends_behind_by(1);
    assert!(
        matches!(&opened, Err(JournalError::Damaged(says)) if says.contains("positions end")),
        "{opened:?}"
    );
    let (_dir, opened) = ends_behind_by(0);
    let journal = opened.unwrap();
    let refused = block_on(journal.append(&group(4)));
    assert!(matches!(&refused, Err(JournalError::Damaged(_))), "{refused:?}");
    assert_eq!(block_on(journal.end()), Ok(u64::MAX));
}

#[test]
fn a_torn_end_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    fill(&whole, 60);
    let bytes = std::fs::read(&whole).unwrap();
    let path = dir.path().join("torn");
    let all = prefix(&Redb::open(&whole).unwrap());
    let ends: [(&str, Vec<u8>); 3] = [
        ("a byte short", bytes[..bytes.len() - 1].to_vec()),
        ("a page short", bytes[..bytes.len() - 4096].to_vec()),
        ("garbage behind it", [&bytes[..], b"garbage"].concat()),
    ];
    for (what, torn) in ends {
        std::fs::write(&path, torn).unwrap();
        let journal = Redb::open(&path).unwrap();
        assert_eq!(prefix(&journal), all, "{what}");
        assert!(!dir.path().join("torn.mending").exists());
    }
    // What cannot be mended stays as it was.
    let half = &bytes[..bytes.len() / 2];
    std::fs::write(&path, half).unwrap();
    assert!(Redb::open(&path).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), half);
    assert!(!dir.path().join("torn.mending").exists());
}

#[test]
fn a_truncated_or_altered_file_opens_whole_or_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    fill(&whole, 60);
    let bytes = std::fs::read(&whole).unwrap();
    let path = dir.path().join("cut");
    let mut refused = 0;
    let mut try_it = |what: String, bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        match Redb::open(&path) {
            // A cut tail may hold nothing yet; what is there is right and without holes.
            Ok(journal) => assert!(prefix(&journal) <= 60, "{what}"),
            Err(error) => {
                assert!(matches!(error, JournalError::Damaged(_)), "{what}: {error}");
                assert!(
                    error.to_string().contains("put a backup in its place"),
                    "{what}: {error}"
                );
                refused += 1;
            }
        }
    };
    for eighth in 1..8 {
        try_it(format!("{eighth}/8 of it"), &bytes[..bytes.len() * eighth / 8]);
    }
    for length in [1, 5, 9, 100, 320, 4096] {
        try_it(format!("{length} bytes"), &bytes[..length]);
    }
    for at in [64, 200, 4096, 4200, 8192, 12_345, 20_000, 40_000] {
        let mut altered = bytes.clone();
        altered[at] ^= 0x55;
        try_it(format!("byte {at} altered"), &altered);
    }
    assert!(refused > 0, "nothing of this was noticed");
}

/// Not a test of its own: the process that `a_killed_writer_loses_nothing_reported` kills.
#[test]
#[ignore = "the child of another test"]
fn writer() {
    let Ok(path) = std::env::var("JOURNAL_TO_WRITE") else {
        return;
    };
    let journal = Redb::open(path).unwrap();
    let from = block_on(journal.end()).unwrap() / 2;
    for number in from.. {
        let position = block_on(journal.append(&group(number))).unwrap();
        println!("\nappended {position}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn a_killed_writer_loses_nothing_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut expected: Position = 0;
    for round in 1..=4u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["writer", "--exact", "--ignored", "--nocapture"])
            .env("JOURNAL_TO_WRITE", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reported: Vec<Position> = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("appended ")?.parse().ok())
            .take(usize::try_from(round * 7).unwrap())
            .collect();
        child.kill().unwrap();
        child.wait().unwrap();
        let last = *reported.last().expect("the child wrote something");
        assert!(last >= expected, "it went on after what was there");
        let journal = Redb::open(&path).unwrap();
        expected = prefix(&journal) * 2;
        assert!(expected >= last + 2, "{last} was reported and the end is {expected}");
    }
}
