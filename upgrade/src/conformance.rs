//! What every journal must do, as a suite to run against an own one.
use crate::{Group, Journal, Position, Stream};

/// Drives an empty journal through the contract of [`Journal`] and says what it breaks, in words.
///
/// Appends a few hundred small records. Durability cannot be seen from the inside: reopen the medium afterwards and
/// run [`journal_holds`] on it.
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
pub async fn journal_suite<J: Journal + ?Sized>(journal: &J) -> Result<(), String> {
    let end = journal.end().await.map_err(words("end of an empty journal"))?;
    same("end of an empty journal", &end, &0)?;
    let nothing = journal.read(0, 10).await.map_err(words("read of an empty journal"))?;
    same("groups of an empty journal", &nothing.len(), &0)?;

    let mut position: Position = 0;
    for number in 0..GROUPS {
        let group = sample(number);
        let first = journal.append(&group).await.map_err(words("append"))?;
        same("position of an appended group", &first, &position)?;
        position += Position::from(group.len());
        let end = journal.end().await.map_err(words("end"))?;
        same("end after an append", &end, &position)?;
    }

    let first = journal
        .append(&Group::new())
        .await
        .map_err(words("append of an empty group"))?;
    same("position of an empty group", &first, &position)?;
    journal_holds(journal).await
}

/// Checks that a journal holds exactly what [`journal_suite`] appended, from wherever it is read.
pub async fn journal_holds<J: Journal + ?Sized>(journal: &J) -> Result<(), String> {
    let mut starts = Vec::new();
    let mut end: Position = 0;
    for number in 0..GROUPS {
        let group = sample(number);
        starts.push((end, group));
        end += Position::from(starts[starts.len() - 1].1.len());
    }
    same("end", &journal.end().await.map_err(words("end"))?, &end)?;
    for from in 0..end + 2 {
        // The first group that has a record at or after `from`.
        let first = starts
            .iter()
            .position(|(start, group)| start + Position::from(group.len()) > from)
            .unwrap_or(starts.len());
        for most in [1, 3, starts.len() + 1] {
            let found = journal.read(from, most).await.map_err(words("read"))?;
            let wanted = &starts[first..starts.len().min(first + most)];
            // "About" so many: a journal may give fewer, but never none where there are some, and never others.
            if found.len() > wanted.len() || (found.is_empty() && !wanted.is_empty()) {
                return Err(format!(
                    "read({from}, {most}) gave {} groups where {} were wanted",
                    found.len(),
                    wanted.len()
                ));
            }
            for (found, wanted) in found.iter().zip(wanted) {
                same("a group read back", found, wanted)?;
            }
        }
    }
    Ok(())
}

const GROUPS: u32 = 40;

/// A group whose content tells its number: empty records, odd bytes, a few kilobytes now and then.
fn sample(number: u32) -> Group {
    let mut group = Group::new();
    for record in 0..1 + number % 4 {
        let length = if number % 7 == 3 { 5_000 } else { number * record % 300 };
        let bytes: Vec<u8> = (0..length)
            .map(|at| u8::try_from((at * 31 + number) % 256).unwrap_or(0))
            .collect();
        let kind = u8::try_from(record).unwrap_or(0);
        group.push(Stream(u8::try_from(number % 256).unwrap_or(0)), kind, &bytes);
    }
    group
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, wanted: &T) -> Result<(), String> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{what} is {found:?}, wanted {wanted:?}"))
    }
}

fn words<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}
