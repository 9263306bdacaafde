//! Spans of time in sentences.

/// How long something has been waited for, or may be, in whole units of a kind that it has some of: `72 hours`, `5 minutes`,
/// `1 second`.
pub(crate) fn span(ms: u64) -> String {
    let (count, unit) = match ms {
        0..60_000 => (ms / 1_000, "second"),
        60_000..3_600_000 => (ms / 60_000, "minute"),
        _ => (ms / 3_600_000, "hour"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn short_spans_are_not_told_in_hours() {
        for (ms, words) in [
            (0, "0 seconds"),
            (1_000, "1 second"),
            (59_999, "59 seconds"),
            (60_000, "1 minute"),
            (300_000, "5 minutes"),
            (3_599_999, "59 minutes"),
            (3_600_000, "1 hour"),
            (72 * 3_600_000, "72 hours"),
        ] {
            assert_eq!(span(ms), words);
        }
    }
}
