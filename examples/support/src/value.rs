//! What one cell may hold.

use crate::State;

/// Seconds, with or without decimals; decimals are dropped, since a second is fine enough for a fleet.
pub(crate) fn seconds(text: &str) -> Result<i64, &'static str> {
    const WANTS: &str = "is no number of seconds: write digits, such as 86400, or leave the cell empty";
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    if rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WANTS);
    }
    whole.parse().map_err(|_| WANTS)
}

/// Readiness in words.
pub(crate) fn ready(text: &str) -> Result<State, &'static str> {
    if text.eq_ignore_ascii_case("true") || text == "1" {
        Ok(State::Healthy)
    } else if text.eq_ignore_ascii_case("false") || text == "0" {
        Ok(State::AppUnready)
    } else {
        Err("is neither true nor false: write one of the two")
    }
}

/// Names and label values are single lines.
pub(crate) fn single_line(text: &str) -> Result<(), &'static str> {
    if text.chars().any(char::is_control) {
        Err("has a line break, tab or control character in it: remove it, and look for a quote that is never closed")
    } else {
        Ok(())
    }
}

/// A target cannot end before it begins.
pub(crate) fn lifetime(born_s: Option<i64>, died_s: Option<i64>) -> Result<(), &'static str> {
    match (born_s, died_s) {
        (Some(born), Some(died)) if died < born => {
            Err("is earlier than the time of birth: swap the two columns or mend the row")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{lifetime, ready, seconds, single_line};
    use crate::State;

    #[test]
    fn seconds_are_whole_and_signed() {
        assert_eq!(
            [seconds("85"), seconds("85.0"), seconds("85.9"), seconds("-3")],
            [Ok(85), Ok(85), Ok(85), Ok(-3)]
        );
        for bad in ["", "x", "1.", "1.x", "1e3", "9223372036854775808", "1.-2", " 1"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn readiness_is_true_or_false_and_nothing_else() {
        assert_eq!([ready("TRUE"), ready("1")], [Ok(State::Healthy); 2]);
        assert_eq!([ready("False"), ready("0")], [Ok(State::AppUnready); 2]);
        assert!(ready("yes").is_err() && ready("").is_err());
    }

    #[test]
    fn lines_and_lifetimes() {
        assert!(single_line("a b·ü").is_ok() && single_line("a\nb").is_err() && single_line("a\u{7f}").is_err());
        assert!(lifetime(Some(5), Some(5)).is_ok() && lifetime(Some(5), None).is_ok());
        assert!(lifetime(Some(5), Some(4)).is_err());
    }
}
