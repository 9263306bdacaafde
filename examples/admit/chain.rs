//! The chain of what was decided.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};
use unattended::defense::audit::{Anchor, Broken, Chain, Entry, Head, Log, Record, Replay, VerifyError, verify};
use unattended::defense::{Decision, Guard, Request};
use unattended_examples_support::{Exit, Failure};

use crate::options::Options;
use crate::{SCHEMA, print};

/// The name of a chain that is begun here.
const NAME: &str = "admit";

/// Appends a decision. It is on the disk when this returns.
pub(crate) fn record(
    path: &Path,
    guard: &Guard,
    request: &Request,
    at: i64,
    decision: &Decision,
) -> Result<(), Failure> {
    let name = path.display();
    let unwritable = |error: std::io::Error| Failure::Input(format!("{name}: the chain cannot be written: {error}"));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(unwritable)?;
    // Two writers would go on from the same head.
    file.try_lock()
        .map_err(|error| Failure::Input(format!("{name}: somebody else is writing the chain: {error}")))?;
    let synced = file.try_clone().map_err(unwritable)?;
    let mut log = if file.metadata().map_err(unwritable)?.len() == 0 {
        Log::begin(file, NAME, at).map_err(unwritable)?
    } else {
        let resumed =
            Chain::resume(BufReader::new(&file)).map_err(|error| Failure::Input(format!("{name}: {error}")))?;
        file.set_len(resumed.keep).map_err(unwritable)?;
        file.seek(SeekFrom::End(0)).map_err(unwritable)?;
        let mut log = Log::go_on(resumed.chain, file);
        if !resumed.torn.is_empty() {
            eprintln!("{name}: the last line broke off and was cut; a record says so");
            log.recovered(at, &resumed.torn).map_err(unwritable)?;
        }
        log
    };
    log.append(at, &Entry::decision(guard.digest(), request, at, decision))
        .map_err(unwritable)?;
    synced.sync_all().map_err(unwritable)
}

#[derive(Serialize)]
struct Json<'a> {
    schema: u32,
    whole: bool,
    broken: Option<&'a Broken>,
    head: Option<&'a Head>,
    records: u64,
    kinds: BTreeMap<String, u64>,
    anchored: Option<u64>,
    replayed: Option<Replayed>,
}

/// What came of asking again.
#[derive(Default, Serialize)]
struct Replayed {
    same: u64,
    different: Vec<u64>,
    other_rules: u64,
    unreadable: Vec<u64>,
}

pub(crate) fn audit(options: &Options, path: &Path) -> Result<Exit, Failure> {
    let name = path.display();
    let open = |path: &Path| {
        File::open(path).map_err(|error| Failure::Input(format!("{}: cannot be read: {error}", path.display())))
    };
    let anchors = match &options.anchor {
        Some(path) => anchors(path, BufReader::new(open(path)?))?,
        None => Vec::new(),
    };
    let verified = match verify(BufReader::new(open(path)?), &anchors) {
        Ok(verified) => verified,
        Err(VerifyError::Broken(broken)) => {
            let json = Json {
                schema: SCHEMA,
                whole: false,
                broken: Some(&broken),
                head: None,
                records: 0,
                kinds: BTreeMap::new(),
                anchored: None,
                replayed: None,
            };
            print(options, || format!("{name}: {broken}"), &json)?;
            return Ok(Exit::Stopped);
        }
        Err(error) => return Err(Failure::Input(format!("{name}: {error}"))),
    };
    let replayed = if options.rules.is_empty() {
        None
    } else {
        let guard = Guard::load_all(&options.rules).map_err(Failure::input)?;
        Some(replay(&guard, BufReader::new(open(path)?)).map_err(|error| Failure::Input(format!("{name}: {error}")))?)
    };
    let differs = replayed.as_ref().is_some_and(|r| !r.different.is_empty());
    let json = Json {
        schema: SCHEMA,
        whole: true,
        broken: None,
        head: Some(&verified.head),
        records: verified.records,
        kinds: verified.kinds.clone(),
        anchored: verified.anchored,
        replayed,
    };
    let text = || {
        let kinds: Vec<String> = verified.kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        let vouched = match verified.anchored {
            Some(seq) => format!("an anchor vouches for records 0 to {seq}"),
            None => "no anchor was given, so a cut end or a chain computed anew would not show".to_owned(),
        };
        let head = serde_json::to_string(&Anchor::of(verified.head.clone())).unwrap_or_default();
        let again = json.replayed.as_ref().map_or_else(String::new, |r| {
            format!(
                "\nasked again: {} the same, {} different {:?}, {} under other packs, {} of a shape this version cannot read {:?}",
                r.same, r.different.len(), r.different, r.other_rules, r.unreadable.len(), r.unreadable
            )
        });
        format!(
            "{name}: the chain {:?} is whole: {} records ({}); {vouched}{again}\nkeep this elsewhere:\n{head}",
            verified.head.log,
            verified.records,
            kinds.join(", "),
        )
    };
    print(options, text, &json)?;
    Ok(if differs { Exit::Stopped } else { Exit::Completed })
}

fn anchors(path: &Path, reader: BufReader<File>) -> Result<Vec<Head>, Failure> {
    let mut heads = Vec::new();
    for (number, line) in reader.lines().enumerate() {
        let wrong = |error: String| {
            Failure::Input(format!(
                "{}:{}: no anchor: {error}; fix: keep the line that an audit prints last, or its JSON",
                path.display(),
                number + 1
            ))
        };
        let line = line.map_err(|error| wrong(error.to_string()))?;
        heads.push(head(&line).map_err(wrong)?);
    }
    if heads.is_empty() {
        return Err(Failure::Input(format!(
            "{}: holds no anchor, one a line",
            path.display()
        )));
    }
    Ok(heads)
}

/// The head in a line that was kept: an anchor, a head, or what `--audit --json` printed.
fn head(line: &str) -> Result<Head, String> {
    #[derive(Deserialize)]
    struct Kept {
        whole: bool,
        head: Option<Head>,
    }
    let anchor = Anchor::parse(line);
    match serde_json::from_str(line) {
        Ok(Kept {
            whole: true,
            head: Some(head),
        }) => Ok(head),
        _ => anchor.map(|anchor| anchor.head),
    }
}

fn replay(guard: &Guard, reader: BufReader<File>) -> std::io::Result<Replayed> {
    let mut replayed = Replayed::default();
    for line in reader.lines() {
        // The chain was verified just now, so each line is a record.
        let Ok(record) = Record::parse(&line?) else { continue };
        match guard.replay(&record) {
            Replay::Same => replayed.same += 1,
            Replay::Different { .. } => replayed.different.push(record.seq),
            Replay::OtherRules { .. } => replayed.other_rules += 1,
            Replay::NoDecision => {}
            _ => replayed.unreadable.push(record.seq),
        }
    }
    Ok(replayed)
}
