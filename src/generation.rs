//! From which generation on a change gives its orders.

/// Generations to a millisecond, as a power of two. An attempt at a target takes one, and so does each run that takes it up: a change that
/// begins a millisecond later is above a thousand of those.
const TO_A_MS_BITS: u32 = 10;
/// Generations that a change may take at one target before those of the next one in its queue begin, where the clock has stood still or
/// stepped back: so each change takes such a queue one second ahead of its clock at most.
const OF_A_TURN: u64 = 1 << 20;
/// A date that is further away is none, and its generations would not fit.
const LATEST_MS: u64 = 1 << 49;

/// Of a change that begins then. Whatever journal others have, theirs are below if they began before.
pub(crate) fn of_date(unix_ms: i64) -> u64 {
    let ms = u64::try_from(unix_ms).unwrap_or(0).min(LATEST_MS);
    (ms << TO_A_MS_BITS).max(1)
}

/// Of a change whose turn in a queue comes then: above those of the turns before, whatever the clock says.
pub(crate) fn of_turn(turn: u64, unix_ms: i64, before: u64) -> u64 {
    let above = before.saturating_add(OF_A_TURN);
    of_date(unix_ms).max(above).max(of_turn_alone(turn))
}

/// What turns had before they went by the date too. No change tries one target 2³² times.
pub(crate) const fn of_turn_alone(turn: u64) -> u64 {
    1 + (turn << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_fit_whatever_the_clock_says() {
        for unix_ms in [i64::MIN, -1, 0, 1, i64::MAX] {
            let first = of_date(unix_ms);
            assert!((1..1 << 60).contains(&first), "{unix_ms}");
            assert!(of_turn(1, unix_ms, 0) >= first);
        }
        // The last second of the year 2247, for whoever keeps numbers in 53 bits.
        assert!(of_date(8_772_883_199_000) < 1 << 53);
    }

    #[test]
    fn a_turn_is_above_the_one_before_also_where_the_clock_steps_back() {
        let mut before = 0;
        for (turn, unix_ms) in (1..).zip([
            1_760_000_000_000,
            1_760_000_000_000,
            1_700_000_000_000,
            -5,
            1_760_000_100_000,
        ]) {
            let first = of_turn(turn, unix_ms, before);
            assert!(first >= before + OF_A_TURN, "{turn}");
            before = first;
        }
        // It is not far ahead of the clock: what begins there without a queue soon afterwards is above.
        assert!(before < of_date(1_760_000_100_001));
    }
}
