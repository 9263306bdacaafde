use std::fmt;
use std::str::FromStr;

use crate::nearest::hint;

const KINDS: [&str; 7] = ["good", "same", "crash", "errors", "latency", "leak", "late"];
const LOAD: &str = "load";
const EXAMPLES: &str = "good, same, crash, errors=x5, latency=x2, leak=5%/h, late=30m:errors=x5, load=80%:errors=x5; each may \
                        end in @label=value";

/// What is wrong with the description of a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("release `{text}`: {part}; {fix}")]
#[non_exhaustive]
pub struct SpecError {
    /// The whole description.
    pub text: String,
    /// The part that is wrong, and how.
    pub part: String,
    /// What to write instead.
    pub fix: String,
}

/// How a release differs from the version before it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// In nothing that matters.
    None,
    /// It exits at start.
    Crash,
    /// Own errors are this many times as many.
    Errors {
        /// The factor, at least 1.
        factor: f64,
    },
    /// Latency is this many times as long.
    Latency {
        /// The factor, at least 1.
        factor: f64,
    },
    /// Memory grows from half its limit; at the limit the instance is killed.
    Leak {
        /// Part of the limit per hour, above 0.
        per_hour: f64,
    },
    /// Errors, from some age of the instance on.
    Late {
        /// The age in milliseconds.
        after_ms: u64,
        /// The factor, at least 1.
        factor: f64,
    },
    /// Errors, while the load of the day is high.
    Load {
        /// The share of the day's peak from which on it is bad, above 0 to 1.
        share: f64,
        /// The factor, at least 1.
        factor: f64,
    },
}

/// The release that is rolled out in a simulation: what is wrong with it, and where.
///
/// Written as `good`, `same`, `crash`, `errors=xN`, `latency=xN`, `leak=N%/h`, `late=DUR[:errors=xN]`,
/// `load=SHARE:errors=xN`, each followed by any number of `@label=value` (or `@app=name`) which must all match for the
/// fault to show. `late` alone is `late=30m:errors=x5`.
///
/// ```
/// # use unattended_simulated::ReleaseSpec;
/// let release = ReleaseSpec::parse("errors=x5@stack=HN@zone=zone-1")?;
/// assert_eq!(release.filters().len(), 2);
/// assert!(ReleaseSpec::parse("eror=x5").unwrap_err().to_string().contains("did you mean `errors`"));
/// # Ok::<(), unattended_simulated::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseSpec {
    text: String,
    fault: Fault,
    filters: Vec<(String, String)>,
}

impl Default for ReleaseSpec {
    /// A good release.
    fn default() -> Self {
        Self {
            text: "good".to_owned(),
            fault: Fault::None,
            filters: Vec::new(),
        }
    }
}

impl ReleaseSpec {
    /// Reads a description.
    ///
    /// # Errors
    ///
    /// Names the part that is wrong and says what to write.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let text = text.trim();
        let error = |part: String, fix: &str| SpecError {
            text: text.to_owned(),
            part,
            fix: fix.to_owned(),
        };
        let mut parts = text.split('@');
        let head = parts.next().unwrap_or_default().trim();
        let mut filters = Vec::new();
        for part in parts {
            match part.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() && !value.trim().is_empty() => {
                    filters.push((key.trim().to_owned(), value.trim().to_owned()));
                }
                _ => {
                    return Err(error(
                        format!("`@{part}` is not a filter"),
                        "write @label=value, as in @zone=zone-1",
                    ));
                }
            }
        }
        let fault = parse_fault(head).map_err(|(part, fix)| error(part, &fix))?;
        Ok(Self {
            text: text.to_owned(),
            fault,
            filters,
        })
    }

    /// What is wrong with it.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// Where the fault shows: all of these `(label, value)` must match; the label `app` is the application.
    #[must_use]
    pub fn filters(&self) -> &[(String, String)] {
        &self.filters
    }

    /// Checks the filters against the `(label, value)` pairs of a fleet, `("app", name)` included.
    ///
    /// # Errors
    ///
    /// Names the label or value the fleet lacks, and the nearest one it has.
    pub fn check<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)> + Clone) -> Result<(), SpecError> {
        for (key, value) in &self.filters {
            if pairs.clone().into_iter().any(|(k, v)| k == key && v == value) {
                continue;
            }
            let known_key = pairs.clone().into_iter().any(|(k, _)| k == key);
            let (part, near) = if known_key {
                let values = pairs.clone().into_iter().filter(|(k, _)| k == key).map(|(_, v)| v);
                (format!("no target has {key}={value}"), hint(value, values))
            } else {
                let keys = pairs.clone().into_iter().map(|(k, _)| k);
                (format!("no target has a label `{key}`"), hint(key, keys))
            };
            return Err(SpecError {
                text: self.text.clone(),
                part: format!("{part}{near}"),
                fix: "use a label and a value that the fleet has".to_owned(),
            });
        }
        Ok(())
    }
}

impl fmt::Display for ReleaseSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for ReleaseSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::parse(text)
    }
}

/// A complaint: the part, and the fix.
type Complaint = (String, String);

fn parse_fault(head: &str) -> Result<Fault, Complaint> {
    let (kind, argument) = match head.split_once('=') {
        Some((kind, argument)) => (kind.trim(), Some(argument.trim())),
        None => (head, None),
    };
    match (kind, argument) {
        ("good" | "same", None) => Ok(Fault::None),
        ("crash", None) => Ok(Fault::Crash),
        ("good" | "same" | "crash", Some(_)) => {
            Err((format!("`{kind}` takes no argument"), format!("write just `{kind}`")))
        }
        ("errors", Some(a)) => Ok(Fault::Errors { factor: factor(a)? }),
        ("latency", Some(a)) => Ok(Fault::Latency { factor: factor(a)? }),
        ("leak", Some(a)) => Ok(Fault::Leak { per_hour: leak(a)? }),
        ("late", None) => Ok(Fault::Late {
            after_ms: 30 * 60_000,
            factor: 5.0,
        }),
        ("late", Some(a)) => {
            let (age, rest) = a.split_once(':').map_or((a, None), |(age, rest)| (age, Some(rest)));
            Ok(Fault::Late {
                after_ms: duration_ms(age.trim())?,
                factor: rest.map_or(Ok(5.0), errors_part)?,
            })
        }
        ("load", Some(a)) => {
            let Some((share, rest)) = a.split_once(':') else {
                return Err((
                    format!("`load={a}` does not say what happens then"),
                    "write load=80%:errors=x5".to_owned(),
                ));
            };
            Ok(Fault::Load {
                share: parse_share(share.trim())?,
                factor: errors_part(rest)?,
            })
        }
        ("errors" | "latency" | "leak" | "load", None) => {
            let example = match kind {
                "errors" => "errors=x5",
                "latency" => "latency=x2",
                "leak" => "leak=5%/h",
                _ => "load=80%:errors=x5",
            };
            Err((format!("`{kind}` needs to know how much"), format!("write {example}")))
        }
        _ => Err((
            format!(
                "`{kind}` is not a kind of release{}",
                hint(kind, KINDS.into_iter().chain([LOAD]))
            ),
            format!("write one of {EXAMPLES}"),
        )),
    }
}

fn errors_part(text: &str) -> Result<f64, Complaint> {
    match text.trim().split_once('=') {
        Some(("errors", a)) => factor(a.trim()),
        _ => Err((
            format!(
                "`{text}` is not errors=xN{}",
                hint(text.split('=').next().unwrap_or_default(), ["errors"])
            ),
            "write errors=x5 after the colon".to_owned(),
        )),
    }
}

fn factor(text: &str) -> Result<f64, Complaint> {
    text.strip_prefix('x')
        .and_then(|n| n.parse::<f64>().ok())
        .filter(|n| (1.0..=1e6).contains(n))
        .ok_or_else(|| {
            (
                format!("`{text}` is not a factor"),
                "write x and a number from 1 to 1000000, as in x5".to_owned(),
            )
        })
}

fn leak(text: &str) -> Result<f64, Complaint> {
    text.strip_suffix("%/h")
        .and_then(|n| n.parse::<f64>().ok())
        .filter(|n| (0.01..=10_000.0).contains(n))
        .map(|n| n / 100.0)
        .ok_or_else(|| {
            (
                format!("`{text}` is not a leak"),
                "write percent of the memory limit per hour from 0.01 on, as in 5%/h".to_owned(),
            )
        })
}

fn parse_share(text: &str) -> Result<f64, Complaint> {
    let number = match text.strip_suffix('%') {
        Some(n) => n.parse::<f64>().ok().map(|n| n / 100.0),
        None => text.parse::<f64>().ok(),
    };
    number.filter(|n| *n > 0.0 && *n <= 1.0).ok_or_else(|| {
        (
            format!("`{text}` is not a share"),
            "write 80% or 0.8; errors=xN for errors at any load".to_owned(),
        )
    })
}

fn duration_ms(text: &str) -> Result<u64, Complaint> {
    let complaint = || {
        (
            format!("`{text}` is not a duration"),
            "write a number and s, m, h or d, as in 90s, 30m, 2h".to_owned(),
        )
    };
    let unit = text.chars().next_back().ok_or_else(complaint)?;
    let scale: u64 = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Err(complaint()),
    };
    let number = &text[..text.len() - unit.len_utf8()];
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(scale))
        .filter(|ms| *ms <= 365 * 86_400_000)
        .ok_or_else(complaint)
        .and_then(|ms| match ms {
            0 => Err((
                format!("`{text}` is not late"),
                "write errors=xN for errors from the beginning".to_owned(),
            )),
            ms => Ok(ms),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        ReleaseSpec::parse(text).unwrap().fault()
    }

    fn complaint(text: &str) -> String {
        ReleaseSpec::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn reads_every_kind() {
        assert_eq!([fault("good"), fault("same")], [Fault::None, Fault::None]);
        assert_eq!(fault("crash"), Fault::Crash);
        assert_eq!(fault("errors=x5"), Fault::Errors { factor: 5.0 });
        assert_eq!(fault("latency=x1.5"), Fault::Latency { factor: 1.5 });
        assert_eq!(fault("leak=5%/h"), Fault::Leak { per_hour: 0.05 });
        let late = |after_ms, factor| Fault::Late { after_ms, factor };
        assert_eq!(fault("late"), late(1_800_000, 5.0));
        assert_eq!(fault("late=90s"), late(90_000, 5.0));
        assert_eq!(fault("late=2h:errors=x3"), late(7_200_000, 3.0));
        assert_eq!(
            fault("load=80%:errors=x5"),
            Fault::Load {
                share: 0.8,
                factor: 5.0
            }
        );
        assert_eq!(
            fault("load=0.8:errors=x5"),
            Fault::Load {
                share: 0.8,
                factor: 5.0
            }
        );
    }

    #[test]
    fn reads_filters() {
        let spec = ReleaseSpec::parse("errors=x5@stack=HN @app=pay").unwrap();
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(spec.filters(), [pair("stack", "HN"), pair("app", "pay")]);
        assert_eq!(spec.to_string(), "errors=x5@stack=HN @app=pay");
    }

    #[test]
    fn typos_name_the_part_and_the_nearest_word() {
        assert!(complaint("goof").contains("did you mean `good`"));
        assert!(complaint("erorrs=x5").contains("did you mean `errors`"));
        assert!(complaint("late=30m:eror=x5").contains("did you mean `errors`"));
        for (text, part) in [
            ("errors=5", "`5` is not a factor"),
            ("errors=x0.5", "`x0.5` is not a factor"),
            ("errors=xNaN", "`xNaN` is not a factor"),
            ("errors", "`errors` needs to know how much"),
            ("crash=1", "`crash` takes no argument"),
            ("leak=5", "`5` is not a leak"),
            ("late=30", "`30` is not a duration"),
            ("late=µ", "`µ` is not a duration"),
            ("late=0s", "`0s` is not late"),
            ("load=0%:errors=x5", "`0%` is not a share"),
            ("late=99999999999999999999h", "is not a duration"),
            ("load=80%", "does not say what happens"),
            ("load=120%:errors=x2", "`120%` is not a share"),
            ("good@zone", "`@zone` is not a filter"),
            ("", "`` is not a kind of release"),
        ] {
            assert!(complaint(text).contains(part), "{text}: {}", complaint(text));
        }
    }

    #[test]
    fn filters_are_checked_against_the_fleet() {
        let fleet = [("zone", "zone-1"), ("zone", "zone-2"), ("app", "pay")];
        let check = |text: &str| {
            ReleaseSpec::parse(text)
                .unwrap()
                .check(fleet)
                .map_err(|e| e.to_string())
        };
        assert_eq!(check("crash@zone=zone-2@app=pay"), Ok(()));
        assert!(
            check("crash@zone=zone-9")
                .unwrap_err()
                .contains("did you mean `zone-1`")
        );
        assert!(
            check("crash@zon=zone-1")
                .unwrap_err()
                .contains("no target has a label `zon` (did you mean `zone`?)")
        );
        assert!(
            check("crash@app=billing")
                .unwrap_err()
                .contains("no target has app=billing")
        );
    }
}
