//! The chain shows what is done to it, and names the record.

use std::collections::BTreeMap;

use unattended_defense::audit::{
    Anchor, Broken, Chain, Command, Effect, Entry, Head, Log, Record, Replay, Signer, Tamper, Verified, Verifier,
    VerifyError, verify,
};
use unattended_defense::{Actor, Guard, Request, app};

const NOW: i64 = 1_795_176_000_000;
const RECORDS: u64 = 7;

fn effect(number: u64) -> Effect {
    Effect {
        change: "mesh-1.9.2".to_owned(),
        target: format!("pay-{number}"),
        generation: 3,
        effect: "replace".to_owned(),
        outcome: "done".to_owned(),
        evidence: BTreeMap::from([("note".to_owned(), "a \"quoted\" line\nbreak".to_owned())]),
    }
}

/// A chain of `RECORDS` records and its head after each.
fn chain() -> (Vec<Record>, Vec<Head>) {
    let (mut chain, first) = Chain::begin("bot", NOW);
    let mut records = vec![first];
    let mut heads = vec![chain.head()];
    for number in 1..RECORDS {
        records.push(chain.append(
            NOW + i64::try_from(number).expect("small"),
            &Entry::Effect(&effect(number)),
        ));
        heads.push(chain.head());
    }
    (records, heads)
}

fn text<'r>(records: impl IntoIterator<Item = &'r Record>) -> String {
    records.into_iter().map(|record| record.line() + "\n").collect()
}

fn check(text: &str, anchors: &[Head]) -> Result<Verified, Broken> {
    verify(text.as_bytes(), anchors).map_err(|error| {
        let VerifyError::Broken(broken) = error else {
            unreachable!("memory can be read: {error}")
        };
        broken
    })
}

#[track_caller]
fn broken(text: &str, anchors: &[Head], seq: u64, how: Tamper) -> Broken {
    let broken = check(text, anchors).expect_err("the chain is broken");
    assert_eq!((broken.seq, broken.how), (seq, how), "{broken}");
    broken
}

/// The record with another body, and a hash that holds.
fn forged(record: &Record, body: &str) -> Record {
    let hash = sha256(record.seq, record.at_ms, &record.kind, body, record.prev.as_bytes());
    let line = record
        .line()
        .replace(&record.body, body)
        .replace(&record.hash.to_string(), &hash);
    let forged = Record::parse(&line).expect("a record");
    assert!(forged.intact(), "{line}");
    forged
}

/// The hash as the front page of the module states it, without the crate's own code.
fn sha256(seq: u64, at_ms: i64, kind: &str, body: &str, prev: &[u8]) -> String {
    use sha2::Digest as _;
    let mut bytes = b"unattended-defense/audit/1\0".to_vec();
    bytes.extend(seq.to_le_bytes());
    bytes.extend(at_ms.to_le_bytes());
    for text in [kind, body] {
        bytes.extend(u64::try_from(text.len()).expect("small").to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes.extend(prev);
    sha2::Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn the_hash_is_the_documented_one() {
    // From Python's hashlib: the first record of the chain "bot" at 1795176000000.
    let (records, _) = chain();
    assert_eq!(
        records[0].line(),
        concat!(
            r#"{"seq":0,"at_ms":1795176000000,"kind":"begin","body":{"log":"bot"},"#,
            r#""prev":"0000000000000000000000000000000000000000000000000000000000000000","#,
            r#""hash":"69ba61bf9c306047da29c7ab79f8c311f342962dd73f2d1f150b751558ed37c9"}"#
        )
    );
}

#[test]
fn a_whole_chain_verifies_and_says_how_much_is_vouched_for() {
    let (records, heads) = chain();
    let whole = text(&records);
    let verified = check(&whole, &[]).expect("whole");
    assert_eq!((verified.records, verified.anchored), (RECORDS, None));
    assert_eq!(verified.head, heads[6]);
    assert_eq!(
        verified.kinds,
        BTreeMap::from([("begin".to_owned(), 1), ("effect".to_owned(), 6)])
    );
    for head in &heads {
        assert_eq!(
            check(&whole, std::slice::from_ref(head)).expect("whole").anchored,
            Some(head.seq)
        );
    }
    assert_eq!(check(&whole, &heads).expect("whole").anchored, Some(6));
}

#[test]
fn a_change_of_any_bit_names_its_record() {
    let (records, _) = chain();
    let whole = text(&records);
    let mut seq = 0;
    for (at, byte) in whole.bytes().enumerate() {
        for bit in [1, 32] {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= bit;
            let Err(VerifyError::Broken(broken)) = verify(&bytes[..], &[]) else {
                panic!("bit {bit} of byte {at} does not show");
            };
            let how = if at + 1 == whole.len() {
                Tamper::Torn
            } else {
                Tamper::Changed
            };
            assert_eq!((broken.seq, broken.how), (seq, how), "byte {at}: {broken}");
        }
        if byte == b'\n' {
            seq += 1;
        }
    }
    assert_eq!(seq, RECORDS);
}

#[test]
fn a_change_with_a_new_hash_names_its_record() {
    let (records, heads) = chain();
    for at in 1..records.len() {
        let mut records = records.clone();
        records[at] = forged(&records[at], r#"{"nothing":"happened"}"#);
        let seq = at as u64;
        if seq + 1 < RECORDS {
            broken(&text(&records), &[], seq, Tamper::Changed);
        } else {
            assert!(
                check(&text(&records), &[]).is_ok(),
                "nothing but an anchor knows the end"
            );
        }
        broken(&text(&records), &heads[at..=at], 0, Tamper::Rewritten);
    }
}

#[test]
fn the_record_after_an_anchored_one_is_the_changed_one() {
    let (records, heads) = chain();
    let mut records = records;
    // Record 4 is replaced by one that follows something else; 5 goes on from it.
    let (mut other, _) = Chain::begin("bot", NOW + 1);
    for number in 1..4 {
        let _ = other.append(NOW, &Entry::Effect(&effect(number)));
    }
    records[4] = other.append(NOW, &Entry::Effect(&effect(40)));
    records[5] = other.append(NOW, &Entry::Effect(&effect(50)));
    records.truncate(6);
    broken(&text(&records), &[], 3, Tamper::Changed);
    broken(&text(&records), &heads[3..=3], 4, Tamper::Changed);
}

#[test]
fn a_missing_record_is_named_wherever_it_was() {
    let (records, heads) = chain();
    for from in 0..records.len() {
        for until in from + 1..=records.len() {
            let left = text(records[..from].iter().chain(&records[until..]));
            if until < records.len() {
                let broken = broken(&left, &[], from as u64, Tamper::Removed);
                assert_eq!(broken.line, from as u64 + 1);
            } else {
                if from > 0 {
                    assert!(check(&left, &[]).is_ok(), "nothing but an anchor knows the end");
                }
                broken(&left, &heads[6..], from as u64, Tamper::Truncated);
                if from < 4 {
                    broken(&left, &heads[3..4], from as u64, Tamper::Truncated);
                }
            }
        }
    }
}

#[test]
fn a_line_too_many_is_named_wherever_it_stands() {
    let (records, _) = chain();
    for at in 0..=records.len() {
        for copied in &records {
            let more = records[..at].iter().chain([copied]).chain(&records[at..]);
            // The second of two neighbours is the copy, wherever the first came from.
            let seq = if copied.seq == at as u64 { at + 1 } else { at };
            broken(&text(more), &[], seq as u64, Tamper::Inserted);
        }
        // Two old ones, the later first: the earlier is behind it, and yet nothing was moved here.
        if at > 2 {
            let more = records[..at]
                .iter()
                .chain([&records[2], &records[1]])
                .chain(&records[at..]);
            broken(&text(more), &[], at as u64, Tamper::Inserted);
        }
        for junk in ["", "{}", "null", "\u{feff}", "{\"seq\":1}"] {
            let lines: Vec<String> = records.iter().map(Record::line).collect();
            let (before, after) = lines.split_at(at);
            let more = [before, &[junk.to_owned()], after].concat().join("\n") + "\n";
            // At the end, no later record tells a line too many from one that was spoilt.
            let how = if at == records.len() {
                Tamper::Changed
            } else {
                Tamper::Inserted
            };
            broken(&more, &[], at as u64, how);
        }
    }
}

#[test]
fn a_line_without_an_end_is_not_held_in_memory_and_is_no_record() {
    let (records, _) = chain();
    for length in [(16 << 20) - 1, 16 << 20, (16 << 20) + 1, 20 << 20] {
        let long = "x".repeat(length);
        let more = format!("{}{long}\n{}", text(&records[..3]), text(&records[3..]));
        broken(&more, &[], 3, Tamper::Inserted);
    }
}

#[test]
fn a_forged_record_beside_the_true_one_is_the_one_named() {
    let (records, _) = chain();
    for at in 1..records.len() - 1 {
        let false_one = forged(&records[at], r#"{"nothing":"happened"}"#);
        let before = records[..at].iter().chain([&false_one]).chain(&records[at..]);
        let found = broken(&text(before), &[], at as u64, Tamper::Inserted);
        assert_eq!(found.line, at as u64 + 1);
        let after = records[..=at].iter().chain([&false_one]).chain(&records[at + 1..]);
        let found = broken(&text(after), &[], at as u64 + 1, Tamper::Inserted);
        assert_eq!(found.line, at as u64 + 2);
        // One with a number of later on, which nothing precedes.
        let (mut other, _) = Chain::begin("other", NOW);
        for number in 1..6 {
            let _ = other.append(NOW, &Entry::Effect(&effect(number)));
        }
        let foreign = other.append(NOW, &Entry::Effect(&effect(6)));
        let more = records[..at].iter().chain([&foreign]).chain(&records[at..]);
        broken(&text(more), &[], at as u64, Tamper::Inserted);
    }
}

#[test]
fn every_other_order_is_a_reordering() {
    fn permutations(items: &mut Vec<usize>, from: usize, each: &mut impl FnMut(&[usize])) {
        if from == items.len() {
            each(items);
        }
        for at in from..items.len() {
            items.swap(from, at);
            permutations(items, from + 1, each);
            items.swap(from, at);
        }
    }
    let (records, heads) = chain();
    let mut seen = 0;
    permutations(&mut (0..6).collect(), 0, &mut |order| {
        let reordered = text(order.iter().map(|at| &records[*at]));
        match order.iter().enumerate().position(|(at, record)| at != *record) {
            Some(first) => drop(broken(&reordered, &heads[5..6], first as u64, Tamper::Reordered)),
            None => assert!(check(&reordered, &heads[5..6]).is_ok()),
        }
        seen += 1;
    });
    assert_eq!(seen, 720);
}

#[test]
fn a_chain_computed_anew_shows_between_two_anchors() {
    let (_, heads) = chain();
    for changed in 1..RECORDS {
        let (mut anew, first) = Chain::begin("bot", NOW);
        let mut records = vec![first];
        for number in 1..RECORDS {
            let told = if number == changed { 99 } else { number };
            let at = NOW + i64::try_from(number).expect("small");
            records.push(anew.append(at, &Entry::Effect(&effect(told))));
        }
        let anew = text(&records);
        assert!(check(&anew, &[]).is_ok(), "consistent in itself");
        let anchors = [heads[2].clone(), heads[6].clone()];
        broken(&anew, &anchors, if changed > 2 { 3 } else { 0 }, Tamper::Rewritten);
    }
}

#[test]
fn of_two_heads_of_one_record_that_differ_one_is_not_of_this_chain() {
    let (records, heads) = chain();
    let strange = Head {
        hash: heads[5].hash,
        ..heads[4].clone()
    };
    assert!(check(&text(&records), &[heads[4].clone(), heads[4].clone()]).is_ok());
    for anchors in [[heads[4].clone(), strange.clone()], [strange, heads[4].clone()]] {
        broken(&text(&records), &anchors, 0, Tamper::Rewritten);
    }
}

#[test]
fn another_chain_an_empty_file_and_a_nameless_one_are_none() {
    let (records, heads) = chain();
    let other = Head {
        log: "other".to_owned(),
        ..heads[6].clone()
    };
    broken(&text(&records), &[other], 0, Tamper::OtherChain);
    broken("", &[], 0, Tamper::Truncated);
    broken("", &heads, 0, Tamper::Truncated);
    let nameless = forged(&records[0], r#"{"name":"bot"}"#);
    broken(&text([&nameless]), &[], 0, Tamper::Changed);
    // What Windows' editors make of line breaks.
    broken(&text(&records).replace('\n', "\r\n"), &[], 0, Tamper::Changed);
    let Err(VerifyError::Broken(binary)) = verify(&b"\xff\xfe{\0\n"[..], &[]) else {
        panic!("not a chain");
    };
    assert_eq!((binary.seq, binary.how), (0, Tamper::Changed));
}

#[test]
fn a_torn_end_is_cut_and_the_cut_is_recorded() {
    let (records, _) = chain();
    let whole = text(&records);
    let last = whole.len() - records[6].line().len() - 1;
    for cut in last + 1..whole.len() {
        let torn = &whole[..cut];
        broken(torn, &[], 6, Tamper::Torn);
        let resumed = Chain::resume(torn.as_bytes()).expect("mendable");
        assert_eq!(resumed.keep, last as u64);
        assert!(whole[last..cut].starts_with(&resumed.torn));
        let mut log = Log::go_on(resumed.chain, whole.as_bytes()[..last].to_vec());
        log.recovered(NOW, &resumed.torn).expect("memory");
        log.append(NOW, &Entry::Effect(&effect(7))).expect("memory");
        let mended = String::from_utf8(log.into_inner()).expect("text");
        assert_eq!(check(&mended, &[]).expect("whole").kinds["recovered"], 1);
    }
    let resumed = Chain::resume(whole.as_bytes()).expect("whole");
    assert_eq!((resumed.keep, resumed.torn.as_str()), (whole.len() as u64, ""));
    // Only the end may be torn.
    let spoilt = whole.replacen("pay-3", "pay-4", 1);
    assert!(Chain::resume(spoilt.as_bytes()).is_err());
}

/// A disk that takes so many bytes.
struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 {
            return Err(std::io::Error::other("full"));
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_record_that_could_not_be_kept_is_not_in_the_head_and_nothing_follows_it() {
    let mut log = Log::begin(Full(300), "bot", NOW).expect("room for the first");
    let head = log.head();
    assert!(log.append(NOW, &Entry::Effect(&effect(1))).is_err());
    assert_eq!(log.head(), head);
    assert!(
        log.append(NOW, &Entry::rules("x")).is_err(),
        "half a record stands before it"
    );
    assert_eq!(log.head(), head);
}

/// Not a signature anybody should use.
struct Toy(&'static str);

impl Toy {
    fn tag(&self, statement: &[u8]) -> Vec<u8> {
        use sha2::Digest as _;
        sha2::Sha256::digest([self.0.as_bytes(), statement].concat()).to_vec()
    }
}

impl Signer for Toy {
    type Error = String;

    fn key(&self) -> &str {
        "toy"
    }

    fn sign(&self, statement: &[u8]) -> Result<Vec<u8>, String> {
        if self.0.is_empty() {
            return Err("no key".to_owned());
        }
        Ok(self.tag(statement))
    }
}

impl Verifier for Toy {
    fn verify(&self, key: &str, statement: &[u8], signature: &[u8]) -> bool {
        key == "toy" && self.tag(statement) == signature
    }
}

#[test]
fn a_signed_head_is_known_by_its_signature() {
    let (_, heads) = chain();
    let anchor = Anchor::signed(heads[6].clone(), &Toy("secret")).expect("signed");
    let line = anchor.line();
    let read = Anchor::parse(&line).expect("its own line");
    assert_eq!(read, anchor);
    assert!(read.verified_by(&Toy("secret")));
    assert!(!read.verified_by(&Toy("other")));
    for (what, with) in [("\"seq\":6", "\"seq\":5"), ("bot", "bat"), ("toy", "joy")] {
        let other = Anchor::parse(&line.replace(what, with)).expect("an anchor");
        assert!(!other.verified_by(&Toy("secret")), "{what}");
    }
    assert!(
        !Anchor::of(heads[6].clone()).verified_by(&Toy("secret")),
        "no signature is none that holds"
    );
    assert!(Anchor::signed(heads[6].clone(), &Toy("")).is_err());
    assert!(Anchor::parse(&line.replace("}", ",\"x\":1}")).is_err());
    // Two lines must not pass for one name.
    let two = Head {
        log: "bot\n6".to_owned(),
        ..heads[6].clone()
    };
    assert_eq!(two.statement().lines().count(), 4);
}

#[test]
fn a_head_alone_is_an_anchor_without_a_signature() {
    let (_, heads) = chain();
    let bare = serde_json::to_string(&heads[6]).expect("plain data");
    let read = Anchor::parse(&bare).expect("what an audit prints");
    assert_eq!(read, Anchor::of(heads[6].clone()));
    assert!(!read.verified_by(&Toy("secret")));
    assert!(Anchor::parse(&bare.replace("\"seq\":6,", "")).is_err());
    assert!(Anchor::parse(&bare.replace("}", ",\"x\":1}")).is_err());
}

#[test]
fn a_recorded_question_has_the_same_answer_under_the_same_packs() {
    let guard = Guard::load("packs/example.yaml").expect("a pack");
    let (mut chain, first) = Chain::begin("bot", NOW);
    assert_eq!(guard.replay(&first), Replay::NoDecision);
    let mut answers = BTreeMap::new();
    for hour in 0..400 {
        let now = NOW + hour * 3_600_000;
        for tier in ["gold", "silver", ""] {
            let scope = app("pay").label("business", "payments").label("tier", tier);
            let request = Request::pre(format!("mesh-{hour}")).scope(scope);
            let decision = guard.decide(&request, now);
            *answers.entry(decision.verdict.codes()).or_insert(0) += 1;
            let record = chain.append(now, &Entry::decision(guard.digest(), &request, now, &decision));
            let read = Record::parse(&record.line()).expect("its own line");
            assert_eq!(guard.replay(&read), Replay::Same);
        }
    }
    assert!(answers.len() > 1, "one answer to all would prove little: {answers:?}");
    let request = Request::pre("mesh").scope(app("pay"));
    let decision = guard.decide(&request, NOW);
    let record = chain.append(NOW, &Entry::decision(guard.digest(), &request, NOW, &decision));
    assert!(
        matches!(Guard::empty().replay(&record), Replay::OtherRules { recorded, .. } if recorded == guard.digest())
    );
    let mut other = record.clone();
    other.body = record.body.replace("unknown", "allowed");
    assert!(matches!(guard.replay(&other), Replay::Different { .. }));
    other.body = record.body.replacen("scope", "scpoe", 1);
    assert!(matches!(guard.replay(&other), Replay::Unreadable { .. }));
}

#[test]
fn what_people_did_is_recorded_with_their_names() {
    let command = Command {
        actor: Actor::person("li", "INC-42"),
        command: "freeze".to_owned(),
        change: "mesh-1.9.2".to_owned(),
        params: BTreeMap::new(),
        reason: "looks odd".to_owned(),
    };
    let (mut chain, first) = Chain::begin("bot", NOW);
    let refused = ["packs/a.yaml:3:1: no".to_owned()];
    let records = [
        first,
        chain.append(NOW, &Entry::Command(&command)),
        chain.append(NOW, &Entry::refused("d1", &refused)),
    ];
    assert!(records[1].body.contains(r#""id":"li""#));
    assert_eq!(
        serde_json::from_str::<Command>(&records[1].body).expect("its own body"),
        command
    );
    assert!(records[2].body.contains("packs/a.yaml:3:1: no"));
    assert_eq!(check(&text(&records), &[]).expect("whole").kinds["command"], 1);
}
