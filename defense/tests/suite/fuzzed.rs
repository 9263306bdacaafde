//! The fuzz targets, on a corpus that a seed makes: sound files with a few bytes, words or lines of them changed.

mod targets {
    #![expect(
        unreachable_pub,
        reason = "public in the crate of the fuzz targets, which this file is shared with"
    )]
    include!("../../../fuzz/src/defense.rs");
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).expect("small")).expect("below a usize")
    }
}

/// Words that a grammar reacts to.
const WORDS: [&str; 24] = [
    "\"",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "\n",
    "&a ",
    "*a",
    "!!int ",
    "0",
    "-1",
    "9999999999999999999",
    "1e400",
    "\u{feff}",
    "é",
    "* * * * *",
    "0 0 30 2 *",
    "7d",
    "2199-12-31",
    "02-29",
    "FREQ=YEARLY;COUNT=1000",
    "null",
];

fn mutate(text: &str, random: &mut Random) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] = u8::try_from(random.below(128)).expect("ASCII"),
            1 => drop(bytes.splice(at..at, WORDS[random.below(WORDS.len())].bytes())),
            2 => bytes.truncate(at.max(1)),
            3 => {
                // A line away, or twice.
                let lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
                let line = random.below(lines.len());
                let copies = random.below(2) * 2;
                let kept = lines
                    .iter()
                    .enumerate()
                    .flat_map(|(n, l)| std::iter::repeat_n(*l, if n == line { copies } else { 1 }));
                bytes = kept.flatten().copied().collect();
            }
            4 => {
                let until = (at + random.below(20)).min(bytes.len());
                drop(bytes.drain(at..until));
            }
            _ => {
                // The value after a colon becomes another.
                if let Some(colon) = bytes[at..].windows(2).position(|two| two == b": ") {
                    let from = at + colon + 2;
                    let len = bytes[from..]
                        .iter()
                        .position(|b| matches!(b, b'\n' | b',' | b'}'))
                        .unwrap_or(0);
                    drop(bytes.splice(from..from + len, WORDS[random.below(WORDS.len())].bytes()));
                }
            }
        }
        if bytes.is_empty() {
            bytes.push(b'a');
        }
    }
    bytes
}

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{}/packs/{name}", env!("CARGO_MANIFEST_DIR"))).expect("an example")
}

#[test]
fn no_pack_is_too_strange() {
    let sound = file("example.yaml");
    targets::pack(sound.as_bytes());
    let mut random = Random(5);
    for _ in 0..1_000 {
        targets::pack(&mutate(&sound, &mut random));
    }
}

#[test]
fn no_rule_is_too_strange() {
    let sound = file("rules.yaml");
    targets::pack(sound.as_bytes());
    let mut random = Random(8);
    for _ in 0..1_000 {
        targets::pack(&mutate(&sound, &mut random));
    }
}

#[test]
fn no_request_is_too_strange() {
    let sound = file("../../docs/request.yaml");
    targets::request(sound.as_bytes());
    let mut random = Random(9);
    for _ in 0..1_000 {
        targets::request(&mutate(&sound, &mut random));
    }
}

#[test]
fn no_chain_but_the_written_one_is_whole() {
    let (written, anchor) = targets::chain();
    let text = String::from_utf8(written.clone()).expect("JSON");
    targets::audit(&written);
    assert!(unattended_defense::audit::verify(&*written, &[anchor.head]).is_ok());
    let mut random = Random(10);
    for _ in 0..1_500 {
        targets::audit(&mutate(&text, &mut random));
    }
}

#[test]
fn no_calendar_is_too_strange() {
    let more = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:a\\, b\nDTSTART;TZID=\"Europe/Berlin\":20261224T140000\nDURATION:PT10H30M\nRRULE:FREQ=YEARLY;INTERVAL=2;BYMONTH=12,1;BYMONTHDAY=24,31;UNTIL=20401231\nEXDATE:20281224T140000\nEND:VEVENT\nBEGIN:VEVENT\nDTSTART:20270101T000000Z\nDTEND:20270102T000000Z\nRRULE:FREQ=YEARLY;BYMONTH=1;BYDAY=1MO,-1FR\nEND:VEVENT\nEND:VCALENDAR\n";
    for (seed, sound) in [(6, file("holidays.ics")), (7, more.to_owned())] {
        targets::calendar(sound.as_bytes());
        let mut random = Random(seed);
        for _ in 0..1_000 {
            targets::calendar(&mutate(&sound, &mut random));
        }
    }
}
