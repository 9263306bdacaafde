use std::collections::BTreeSet;

use futures::future::join3;

use super::{Breach, same};
use crate::{Group, Journal, JournalError, Position, Stream};

/// Drives an empty journal through the contract of [`Journal`] and names the rule that it breaks, if it breaks one.
///
/// Appends a few hundred small records, one of 100 kB and a group of 2 MB, and compacts some of them, once to 1 MB. Durability cannot be seen from the inside: open the
/// medium anew afterwards, after a kill for the whole truth, and run [`journal_holds`] on it.
///
/// ```
/// # futures::executor::block_on(async {
/// use unattended_upgrade::{MemoryJournal, conformance};
///
/// let journal = MemoryJournal::new();
/// conformance::journal_suite(&journal).await?;
/// conformance::journal_holds(&journal).await
/// # }).unwrap();
/// ```
///
/// | rule | what it says |
/// | --- | --- |
/// | `empty` | a new journal has its end at 0 and gives no group and no snapshot |
/// | `append.position` | a group gets the position behind the one before; an empty group changes nothing |
/// | `append.end` | the end is behind the last group |
/// | `append.at-once` | appends at the same time are done one after the other, each whole |
/// | `append.at` | an append at the end follows it; one at another place is refused, and leaves nothing behind |
/// | `read.from` | reading from any position begins with the group that holds it |
/// | `read.some` | a reading gives a group if there is one, and never more than asked for |
/// | `read.same` | groups come back as they were, at their positions |
/// | `read.large` | so do long records, groups of very many, and snapshots of them |
/// | `compact.boundary` | a compaction up to the inside of a group, behind the end, or before the last one is refused, and changes nothing |
/// | `compact.snapshot` | the latest snapshot is what is given, with its position |
/// | `compact.end` | so may all of it, once and again, and what is appended then follows it |
/// | `compact.rest` | what is behind the snapshot stays where it is; what is before is gone |
pub async fn journal_suite<J: Journal + ?Sized>(journal: &J) -> Result<(), Breach> {
    let fails = |rule| Breach::by::<JournalError>(rule);
    same("empty", "the end", &journal.end().await.map_err(fails("empty"))?, &0)?;
    let nothing = journal.read(0, 10).await.map_err(fails("empty"))?;
    same("empty", "the number of groups", &nothing.len(), &0)?;
    let none = journal.snapshot().await.map_err(fails("empty"))?;
    same("empty", "the snapshot", &none, &None)?;

    let mut position: Position = 0;
    for number in 0..GROUPS - AT_ONCE {
        let group = sample(number);
        // Half of them by the one, half by the other.
        let first = if number % 2 == 0 {
            journal.append(&group).await
        } else {
            journal.append_at(position, &group).await
        };
        let first = first.map_err(fails("append.position"))?;
        same("append.position", "that of an appended group", &first, &position)?;
        position += Position::from(group.len());
        let end = journal.end().await.map_err(fails("append.end"))?;
        same("append.end", "the end after an append", &end, &position)?;
    }
    for elsewhere in [position + 1, position - 1, 0] {
        match journal.append_at(elsewhere, &sample(0)).await {
            Err(JournalError::NotAtEnd { expected, found }) if (expected, found) == (elsewhere, position) => {}
            other => {
                let told = format!("append_at({elsewhere}) at {position} gave {other:?}, wanted an error `NotAtEnd`");
                return Err(Breach::new("append.at", told));
            }
        }
        let end = journal.end().await.map_err(fails("append.at"))?;
        same("append.at", "the end after an append that was refused", &end, &position)?;
    }
    append_at_once(journal, position).await?;
    let end = journal.end().await.map_err(fails("append.end"))?;
    let empty = journal.append(&Group::new()).await.map_err(fails("append.position"))?;
    same("append.position", "that of an empty group", &empty, &end)?;
    holds(journal, None, GROUPS).await?;

    let mut before = None;
    for (at, snapshot) in COMPACTIONS {
        refuses(journal, before, start_of(at) + 1).await?;
        refuses(journal, before, start_of(GROUPS) + 1).await?;
        journal
            .compact(start_of(at), &sample(snapshot))
            .await
            .map_err(fails("compact.snapshot"))?;
        before = Some((at, snapshot));
        holds(journal, before, GROUPS).await?;
    }
    refuses(journal, before, start_of(COMPACTIONS[0].0)).await?;

    // Up to the end, as a driver's journal is compacted, and again with nothing new; then it goes on.
    for snapshot in [98, NO_RECORDS, SNAPSHOT_OF_MANY] {
        journal
            .compact(start_of(GROUPS), &sample(snapshot))
            .await
            .map_err(fails("compact.end"))?;
        holds(journal, Some((GROUPS, snapshot)), GROUPS).await?;
    }
    for number in GROUPS..ALL {
        let first = journal
            .append(&sample(number))
            .await
            .map_err(fails("append.position"))?;
        same(
            "compact.end",
            "that of a group behind a snapshot",
            &first,
            &start_of(number),
        )?;
        holds(journal, Some((GROUPS, SNAPSHOT_OF_MANY)), number + 1).await?;
    }
    Ok(())
}

/// Checks that a journal holds exactly what [`journal_suite`] left in it, from wherever it is read.
pub async fn journal_holds<J: Journal + ?Sized>(journal: &J) -> Result<(), Breach> {
    holds(journal, Some((GROUPS, SNAPSHOT_OF_MANY)), ALL).await
}

/// Groups that the suite appends before it compacts, and all of them.
const GROUPS: u32 = 40;
const ALL: u32 = 44;
/// The last of them at the same time; equal, since their order is the journal's to choose.
const AT_ONCE: u32 = 3;
/// Group up to which is compacted, and number of the snapshot. Neither begins a group of one record, whose inside there
/// is none of.
const COMPACTIONS: [(u32, u32); 2] = [(11, 103), (30, 97)];
/// A group of very many records, one that has a long record, and a snapshot of many, all left behind at the end.
const VERY_MANY: u32 = 42;
const LONG: u32 = 41;
const SNAPSHOT_OF_MANY: u32 = 99;
/// A snapshot that has none.
const NO_RECORDS: u32 = 100;
/// From so many bytes on a group is large.
const LARGE: usize = 50_000;

async fn append_at_once<J: Journal + ?Sized>(journal: &J, from: Position) -> Result<(), Breach> {
    let group = sample(GROUPS - 1);
    let (a, b, c) = join3(journal.append(&group), journal.append(&group), journal.append(&group)).await;
    let mut found = [a, b, c]
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(Breach::by("append.at-once"))?;
    found.sort_unstable();
    let length = Position::from(group.len());
    let wanted: Vec<Position> = (0..).map(|n| from + n * length).take(found.len()).collect();
    same("append.at-once", "the places of three groups", &found, &wanted)
}

async fn refuses<J: Journal + ?Sized>(journal: &J, now: Option<(u32, u32)>, before: Position) -> Result<(), Breach> {
    match journal.compact(before, &sample(1)).await {
        Err(JournalError::Boundary { .. }) => holds(journal, now, GROUPS).await,
        other => Err(Breach::new(
            "compact.boundary",
            format!("compact({before}) gave {other:?}, wanted an error `Boundary`"),
        )),
    }
}

async fn holds<J: Journal + ?Sized>(journal: &J, compacted: Option<(u32, u32)>, groups: u32) -> Result<(), Breach> {
    let snapshot = journal.snapshot().await.map_err(Breach::by("compact.snapshot"))?;
    let snapshot = snapshot.map(|snapshot| (snapshot.before, snapshot.group));
    let wanted = compacted.map(|(at, snapshot)| (start_of(at), sample(snapshot)));
    let outline =
        |snapshot: &Option<(Position, Group)>| snapshot.as_ref().map(|(before, group)| (*before, group.len()));
    same(
        "compact.snapshot",
        "where the snapshot ends, and how many records it has",
        &outline(&snapshot),
        &outline(&wanted),
    )?;
    if snapshot != wanted
        && wanted
            .as_ref()
            .is_some_and(|(_, group)| group.as_bytes().len() >= LARGE)
    {
        return Err(Breach::new(
            "read.large",
            "a snapshot of 1 MB came back with other bytes",
        ));
    }
    same("compact.snapshot", "the snapshot", &snapshot, &wanted)?;
    let gone = compacted.map_or(0, |(at, _)| at);
    let rest: Vec<(Position, Group)> = (gone..groups).map(|n| (start_of(n), sample(n))).collect();
    let rule = |plain| if gone == 0 { plain } else { "compact.rest" };
    let end = journal.end().await.map_err(Breach::by("append.end"))?;
    same(rule("append.end"), "the end", &end, &start_of(groups))?;
    for (from, most) in [(0, 0), (end, 0), (end, 1), (Position::MAX, 1)] {
        let none = journal.read(from, most).await.map_err(Breach::by("read.from"))?;
        same(
            rule("read.some"),
            &format!("the number of groups of read({from}, {most})"),
            &none.len(),
            &0,
        )?;
    }
    for from in positions(&rest, end) {
        // The first group that has a record at or after `from`.
        let first = rest.partition_point(|(start, group)| start + Position::from(group.len()) <= from);
        // All of them at once only now and then: they are large.
        let all = (first % 8 == 0).then_some(rest.len() + 1);
        for most in [1, 3].into_iter().chain(all) {
            let found = journal.read(from, most).await.map_err(Breach::by("read.from"))?;
            let wanted = &rest[first..rest.len().min(first + most)];
            // "About" so many: a journal may give fewer, but never none where there are some, and never others.
            if found.len() > wanted.len() || (found.is_empty() && !wanted.is_empty()) {
                let told = format!("read({from}, {most}) gave {} of {} groups", found.len(), wanted.len());
                return Err(Breach::new(rule("read.some"), told));
            }
            for (found, wanted) in found.iter().zip(wanted) {
                let is_large = wanted.1.as_bytes().len() >= LARGE;
                let rule = match (found.0 == wanted.0, is_large) {
                    (true, true) => "read.large",
                    (true, false) => rule("read.same"),
                    (false, _) => rule("read.from"),
                };
                if found != wanted && rule == "read.large" {
                    let told = format!("read({from}, {most}): group {} came back with other bytes", wanted.0);
                    return Err(Breach::new(rule, told));
                }
                same(rule, &format!("a group of read({from}, {most})"), found, wanted)?;
            }
        }
    }
    Ok(())
}

/// Where a reading may begin: at, behind, and at the end of the beginning of each group, and behind all.
fn positions(groups: &[(Position, Group)], end: Position) -> BTreeSet<Position> {
    let of_one = |(start, group): &(Position, Group)| [*start, start + 1, start + Position::from(group.len()) - 1];
    let all = groups.iter().flat_map(of_one);
    all.chain([0, 1, end, end + 1]).collect()
}

/// The position of a group's first record.
fn start_of(number: u32) -> Position {
    (0..number).map(|number| Position::from(length(number))).sum()
}

/// The number of records of a sample.
const fn length(number: u32) -> u32 {
    match number {
        VERY_MANY => 20_000,
        SNAPSHOT_OF_MANY => 5_000,
        NO_RECORDS => 0,
        // Those that are appended at once are one and the same.
        number if number >= GROUPS - AT_ONCE && number < GROUPS => 1 + (GROUPS - 1) % 4,
        number => 1 + number % 4,
    }
}

/// A group whose content tells its number: empty records, odd bytes, a few kilobytes now and then, and once very much.
fn sample(number: u32) -> Group {
    // Those that are appended at once are one and the same.
    let number = if (GROUPS - AT_ONCE..GROUPS).contains(&number) {
        GROUPS - 1
    } else {
        number
    };
    let mut group = Group::new();
    for record in 0..length(number) {
        let length = match number {
            VERY_MANY => 100,
            SNAPSHOT_OF_MANY => 200,
            LONG => 100_000,
            number if number % 7 == 3 => 5_000,
            number => number * record % 300,
        };
        let bytes: Vec<u8> = (0..length)
            .map(|at| u8::try_from((at * 31 + number + record) % 256).unwrap_or(0))
            .collect();
        let kind = u8::try_from(record % 256).unwrap_or(0);
        group.push(Stream(u8::try_from(number * 37 % 256).unwrap_or(0)), kind, &bytes);
    }
    group
}
