//! The durable journal beside bare writes and syncs.

use std::cell::LazyCell;
use std::fs::File;
use std::io::Write as _;

use futures::executor::block_on;
use unattended_benches::Suite;
use unattended_redb::Redb;
use unattended_upgrade::{Group, Journal, Stream};

fn main() {
    // Disks are moody: longer than others.
    let mut suite = Suite::new("journal", 4);
    for records in [64, 1_000, 10_000] {
        journal(&mut suite, records);
    }
    suite.finish();
}

/// One group of so many records of 24 bytes, durable, beside the same bytes written to the end of a file and synced. Both
/// on the disk of the build, since the directory of temporary files may be memory.
fn journal(suite: &mut Suite, records: u32) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build may write there");
    let mut group = Group::new();
    for n in 0..records {
        let mut record = [0; 24];
        record[..4].copy_from_slice(&n.to_le_bytes());
        group.push(Stream(9), 1, &record);
    }
    let (ours, bare) = (format!("append_{records}"), format!("write_sync_{records}"));
    let journal = LazyCell::new(|| Redb::open(directory.path().join("journal.redb")).expect("the file is new"));
    suite.measure(&ours, records.into(), |b| {
        let journal = LazyCell::force(&journal);
        b.iter(|| block_on(journal.append(&group)).expect("the disk has room"));
    });
    let file = LazyCell::new(|| File::create(directory.path().join("bare")).expect("the file is new"));
    suite.measure(&bare, records.into(), |b| {
        let mut file = LazyCell::force(&file);
        b.iter(|| {
            file.write_all(group.as_bytes()).expect("the disk has room");
            file.sync_data().expect("the disk works");
        });
    });
    suite.compare(
        &format!("redb: append a group of {records}"),
        "record",
        &ours,
        &bare,
        "write and fdatasync of the same bytes",
    );
}
