//! The fuzz targets, on a corpus that a seed makes: sound documents with a few bytes, words or lines of them changed.

use unattended_health::{
    CheckOutcome, CheckResult, FaultClass, GoldenRequest, GoldenResponse, Instance, Recorder, SelfCheckReport,
};

use crate::support::Random;

mod targets {
    #![expect(
        unreachable_pub,
        reason = "public in the crate of the fuzz targets, which this file is shared with"
    )]
    include!("../../../fuzz/src/health.rs");
}

/// Words that the grammars react to.
const WORDS: [&str; 20] = [
    "\"",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "\n",
    "=",
    ",",
    ":",
    "&a ",
    "*a",
    "0",
    "-1",
    "18446744073709551616",
    "1e400",
    "é",
    "null",
    "--- ",
];

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

fn mutate(text: &str, random: &mut Random) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let until = (at + 1 + random.below(12)).min(bytes.len());
        let word = WORDS[random.below(WORDS.len())].bytes();
        match random.below(6) {
            0 => bytes[at] = u8::try_from(random.below(128)).unwrap(),
            1 => drop(bytes.splice(at..at, word)),
            2 => drop(bytes.splice(at..until, word)),
            3 => drop(bytes.drain(at..until)),
            4 => bytes.truncate(at.max(1)),
            _ => {
                let again = bytes[at..until].to_vec();
                drop(bytes.splice(at..at, again));
            }
        }
        if bytes.is_empty() {
            bytes.push(b'a');
        }
    }
    bytes
}

fn fuzz(target: fn(&[u8]), sound: &str, seed: u64) {
    target(sound.as_bytes());
    let mut random = Random(seed);
    for _ in 0..3_000 {
        target(&mutate(sound, &mut random));
    }
}

fn recorder() -> Recorder {
    let host = "pod-7".to_owned();
    let version = "1.9.2".to_owned();
    let recorder = Recorder::new(
        Instance {
            host,
            version,
            epoch: 3,
        },
        0,
    )
    .unwrap();
    let mut writer = recorder.writer();
    for latency in [3, 90, 90, 4_000, 77_000_000] {
        writer.served(latency);
        writer.failed(FaultClass::Own, latency, latency);
        writer.failed(FaultClass::Client, latency, 1);
    }
    recorder
}

#[test]
fn nothing_served_is_too_strange() {
    let outcomes = [
        CheckOutcome::Pass,
        CheckOutcome::Fail,
        CheckOutcome::Timeout,
        CheckOutcome::Skipped,
    ];
    let mut results = vec![CheckResult::new("config", true, CheckOutcome::Pass)];
    results.extend(outcomes.map(|outcome| CheckResult::new(outcome.as_str(), false, outcome)));
    fuzz(
        targets::wire,
        &SelfCheckReport::new("pod-7", "1.9.2", results).to_json(),
        1,
    );
    fuzz(targets::wire, &recorder().end_interval(9).to_json(), 2);
    let known = GoldenResponse {
        status: 200,
        headers: vec![("a".into(), "b".into())],
        body: vec![0xff, 1],
    };
    let golden = GoldenRequest::new("a", "GET", "/")
        .with_body(vec![0xfe])
        .expecting(&known, &["a"]);
    fuzz(targets::wire, &serde_json::to_string(&golden).unwrap(), 3);
}

#[test]
fn no_log_is_too_strange() {
    let recorder = recorder();
    let lines = [
        recorder.end_interval(1).to_log_line(),
        recorder.end_interval(2).to_log_line(),
    ];
    fuzz(targets::error_log, &lines.join("\n"), 4);
}

#[test]
fn no_objective_is_too_strange() {
    fuzz(targets::openslo, include_str!("../data/openslo.yaml"), 5);
}
