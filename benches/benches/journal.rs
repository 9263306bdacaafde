//! The durable journal beside bare writes and syncs.

use std::cell::LazyCell;
use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use futures::executor::block_on;
use unattended_benches::Suite;
use unattended_redb::Redb;
use unattended_upgrade::{
    AttemptId, Capabilities, Clock, Counts, Driver, DriverConfig, EffectKey, EffectOutcome, Generation, Group, Journal,
    JournalError, Mode, Observation, Platform, PlatformError, SoFar, Step, Stream, TargetId, Terminal, Told,
    UpgradeRecord, Version, read_journal,
};

fn main() {
    // Disks are moody: longer than others.
    let mut suite = Suite::new("journal", 4);
    for records in [64, 1_000, 10_000] {
        journal(&mut suite, records);
    }
    recovery(&mut suite);
    suite.finish();
}

/// A driver that takes over what a million records of finished upgrades leave, beside the reading of them.
fn recovery(suite: &mut Suite) {
    const RECORDS: u32 = 1_000_000;
    const PER_ATTEMPT: u32 = 7;
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build may write there");
    let path = directory.path().join("history.redb");
    let journal = LazyCell::new(|| {
        let journal = Redb::scratch(&path).expect("the file is new");
        for group in history(RECORDS / PER_ATTEMPT) {
            block_on(journal.append(&group)).expect("the disk has room");
        }
        Arc::new(journal)
    });
    suite.measure("recover_1m", RECORDS.into(), |b| {
        let journal = LazyCell::force(&journal);
        b.iter(|| {
            let (platform, clock) = (Arc::new(Nothing), Arc::new(Nothing));
            let mut driver =
                Driver::new(platform, journal.clone(), clock, DriverConfig::new()).expect("the configuration fits");
            let receipts = block_on(driver.recover()).expect("the journal is whole");
            assert!(receipts.len() > 140_000 && driver.outstanding() > 0);
        });
    });
    suite.measure("read_1m", RECORDS.into(), |b| {
        let journal = LazyCell::force(&journal);
        b.iter(|| {
            let mut bytes = 0;
            let end = block_on(read_journal(journal.as_ref(), |_, record| {
                bytes += record.bytes.len();
                Ok::<(), JournalError>(())
            }));
            assert!(end.is_ok());
            bytes
        });
    });
    suite.compare(
        "recovery of 1,000,000 records",
        "record",
        "recover_1m",
        "read_1m",
        "reading them",
    );
}

/// The records of so many warm upgrades, a thousand attempts a group; the last few have not ended.
fn history(attempts: u32) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut group = Group::new();
    let mut scratch = Vec::new();
    let mut push = |group: &mut Group, record: UpgradeRecord| {
        scratch.clear();
        record.encode(&mut scratch);
        group.push(Stream::UPGRADE, record.kind(), &scratch);
    };
    for (index, version) in [(0, "old"), (1, "new")] {
        let version = version.into();
        push(&mut group, UpgradeRecord::Version { index, version });
    }
    for n in 0..attempts {
        let attempt = AttemptId(n.into());
        push(
            &mut group,
            UpgradeRecord::Begun {
                attempt,
                target: TargetId::from(format!("shop-{n}-7d9f8b6c5-x2x7q").as_str()),
                generation: Generation(1),
                mode: Mode::Warm,
                from: 0,
                to: 1,
                at_ms: u64::from(n) * 10,
                was_healthy: true,
                group: None,
            },
        );
        for (ordinal, step) in (1..).zip([
            Step::Prefetching,
            Step::Closing,
            Step::Replacing,
            Step::Opening,
            Step::Opening,
        ]) {
            let intent = UpgradeRecord::Intent {
                attempt,
                step,
                ordinal,
                before: Told::Applied,
                after_ms: 5_000 * u64::from(ordinal),
                left_ms: Some(60_000),
                so_far: Some(SoFar::default()),
            };
            push(&mut group, intent);
        }
        if n < attempts - 100 {
            push(
                &mut group,
                UpgradeRecord::Finished {
                    attempt,
                    terminal: Terminal::Done,
                    went_back: None,
                    before: Told::Applied,
                    after_ms: 120_000,
                    counts: Counts {
                        outage_ms: 30_000,
                        drained: 12,
                        ..Counts::default()
                    },
                },
            );
        }
        if n % 1_000 == 999 {
            groups.push(std::mem::take(&mut group));
        }
    }
    groups.push(group);
    groups
}

/// No world at all: a recovery looks at nothing before the first turn.
struct Nothing;

#[async_trait]
impl Platform for Nothing {
    fn capabilities(&self) -> Capabilities {
        Capabilities::none().with_fence().with_ingress().with_in_place()
    }

    async fn observe(&self, _: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        Err(PlatformError::Unavailable(String::new()))
    }

    async fn replace(&self, _: &TargetId, _: &Version, _: &EffectKey) -> EffectOutcome {
        EffectOutcome::Unsupported
    }
}

#[async_trait]
impl Clock for Nothing {
    fn now(&self) -> u64 {
        1 << 32
    }

    fn wall(&self) -> i64 {
        0
    }

    async fn sleep_until(&self, _: u64) {}
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
