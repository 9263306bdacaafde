//! The fuzz targets, on a corpus that a seed makes: sound messages with a few bytes changed, and bytes of no kind.

use unattended_selfheal::{Bulletin, Center, CenterSettings, Command, NodeId, Report, RouteId, Seen};

mod targets {
    #![expect(
        unreachable_pub,
        reason = "public in the crate of the fuzz targets, which this file is shared with"
    )]
    include!("../../../fuzz/src/selfheal.rs");
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

    fn byte(&mut self) -> u8 {
        // The ends of a variable-length number matter more than its middle.
        let bytes = [0, 1, 2, 0x7f, 0x80, 0x81, 0xff];
        let any = u8::try_from(self.next() % 256).expect("a byte");
        if self.below(2) == 0 {
            any
        } else {
            bytes[self.below(bytes.len())]
        }
    }

    fn mutate(&mut self, sound: &[u8]) -> Vec<u8> {
        let mut bytes = sound.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(4) {
                0 if !bytes.is_empty() => bytes[at] = self.byte(),
                1 => bytes.insert(at, self.byte()),
                2 => bytes.truncate(at),
                _ => {
                    let until = (at + self.below(4)).min(bytes.len());
                    drop(bytes.drain(at..until));
                }
            }
        }
        bytes
    }
}

/// How many of these the reader takes, of so many.
fn run(sound: &[u8], seed: u64, target: impl Fn(&[u8]), taken: impl Fn(&[u8]) -> bool) -> usize {
    target(sound);
    assert!(taken(sound), "the corpus begins with something sound");
    let mut random = Random(seed);
    let mut both = 0;
    for _ in 0..3_000 {
        let bytes = random.mutate(sound);
        target(&bytes);
        both += usize::from(taken(&bytes));
    }
    both
}

#[test]
fn no_report_is_too_strange() {
    let seen = |n: u32| Seen {
        target: NodeId(n),
        route: RouteId(n % 3),
        total: 200 + n,
        failed: n * 7,
        slow: n,
    };
    let report = Report {
        epoch: 1_795_420_800,
        sequence: 300,
        seen: (0..8).map(seen).collect(),
    };
    let bytes = report.encode().expect("sound");
    let taken = run(&bytes, 3, targets::report, |bytes| Report::decode(bytes).is_ok());
    assert!((50..2_900).contains(&taken), "both ways are walked: {taken}");
}

#[test]
fn no_bulletin_is_too_strange() {
    let mut center = Center::new(CenterSettings::default(), 7).expect("defaults");
    let Some(Command::Publish(bulletin)) = center.tick(250).pop() else {
        panic!("a tick ends with a bulletin");
    };
    let mut bytes = bulletin.encode().expect("sound");
    // Isolations, a sub-healthy node, distrusted reporters, frozen services and ways to avoid, as they are written.
    bytes.truncate(bytes.len() - 5);
    bytes.extend([
        2, 104, 0, 0, 105, 1, 2, 1, 9, 200, 1, 1, 110, 250, 1, 1, 7, 1, 1, 2, 1, 2, 2, 0,
    ]);
    let taken = run(&bytes, 4, targets::bulletin, |bytes| Bulletin::decode(bytes).is_ok());
    assert!((50..2_900).contains(&taken), "both ways are walked: {taken}");
}
