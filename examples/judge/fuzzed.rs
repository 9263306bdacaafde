//! What the fuzz target does with any bytes: both kinds of table, an answer within its bounds or a fault with its place.

use clap::Parser as _;
use unattended_examples_support::Failure;

use crate::answer::{Answer, answer};
use crate::baseline;
use crate::first;
use crate::options::{Baseline, Options};
use crate::table::{self, Table};
use crate::trial::Trial;

/// Judges the bytes as rows and as rows of hosts; whether either could be read.
pub(crate) fn table(data: &[u8]) -> bool {
    let paired = judged(&["judge"], data);
    let hosts = judged(&["judge", "--per-host"], data);
    paired || hosts
}

fn judged(arguments: &[&str], data: &[u8]) -> bool {
    let options = Options::parse_from(arguments);
    let told = table::read(data, options.per_host).and_then(|mut table| {
        for name in [Baseline::Kayenta, Baseline::Flagger, Baseline::Argo, Baseline::Z] {
            assert!(!baseline::answer(&options, name, &table).reason.is_empty());
        }
        let failures = first::add(&options, &mut table)?;
        let answer = answer(&Trial::hold(&options, &table, failures)?);
        check(&answer, &table);
        Ok(())
    });
    match told {
        Ok(()) => true,
        Err(Failure::Input(text)) => {
            assert!(text.starts_with("standard input") && text.contains(": "), "{text}");
            false
        }
        Err(other) => panic!("bytes cannot be our fault: {other:?}"),
    }
}

fn check(answer: &Answer, table: &Table) {
    let numbers = [answer.ln_m, answer.ln_e, answer.ln_s, answer.phi];
    assert!(numbers.iter().all(|number| number.is_finite()), "{answer:?}");
    assert!(
        (0.0..=100.0).contains(&answer.score) && !answer.reason.is_empty(),
        "{answer:?}"
    );
    assert!(
        answer.phi >= 1.0 && answer.metrics.len() == table.metrics.len(),
        "{answer:?}"
    );
    let entries = table.spans.iter().flat_map(|span| span.entries.values());
    if entries.map(|entry| entry.canary.total).all(|total| total == 0) {
        assert!(matches!(answer.verdict, "Hold" | "Continue"), "{answer:?}");
    }
}
