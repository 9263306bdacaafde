use std::fmt;
use std::str::FromStr;

use crate::Fault;
use crate::fault::parse_fault;
use crate::nearest::hint;

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

/// The release that is rolled out in a simulation: what is wrong with it, and where.
///
/// Written as `good` or `same`, or as one fault or several, joined by `+`: `crash`, `unready`, `errors=xN`, `latency=xN`,
/// `late=DUR[:errors=xN]`, `load=SHARE:errors=xN` (one of these four), `leak=N%/h`, `one-way`, `mute=SHARE`, `old-peers=xN`,
/// `new-pairs=xN`, `dependency=xN`; followed by any number of `@label=value` (or `@app=name`) which must all match for the
/// faults to show. `late` alone is `late=30m:errors=x5`; what it is joined with shows from that age on, too.
///
/// ```
/// # use unattended_simulated::ReleaseSpec;
/// let release = ReleaseSpec::parse("errors=x5@stack=HN@zone=zone-1")?;
/// assert_eq!(release.filters().len(), 2);
/// assert_eq!(ReleaseSpec::parse("errors=x5+one-way")?.faults().len(), 2);
/// assert!(ReleaseSpec::parse("eror=x5").unwrap_err().to_string().contains("did you mean `errors`"));
/// # Ok::<(), unattended_simulated::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseSpec {
    text: String,
    faults: Vec<Fault>,
    filters: Vec<(String, String)>,
}

impl Default for ReleaseSpec {
    /// A good release.
    fn default() -> Self {
        Self {
            text: "good".to_owned(),
            faults: Vec::new(),
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
        let mut faults: Vec<Fault> = Vec::new();
        if !matches!(head, "good" | "same") {
            for part in head.split('+') {
                let fault = parse_fault(part.trim()).map_err(|(part, fix)| error(part, &fix))?;
                let rival = |known: &&Fault| known.word() == fault.word() || known.says_when() && fault.says_when();
                if let Some(known) = faults.iter().find(rival) {
                    return Err(error(
                        format!("`{}` and `{}` do not go together", known.word(), fault.word()),
                        "leave one of them out",
                    ));
                }
                faults.push(fault);
            }
        }
        Ok(Self {
            text: text.to_owned(),
            faults,
            filters,
        })
    }

    /// What is wrong with it; nothing of a good release.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Where the faults show: all of these `(label, value)` must match; the label `app` is the application.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        let spec = ReleaseSpec::parse(text).unwrap();
        assert_eq!(spec.faults().len(), 1, "{text}");
        spec.faults()[0]
    }

    fn complaint(text: &str) -> String {
        ReleaseSpec::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn reads_every_kind() {
        for good in ["good", "same", "good@app=pay"] {
            assert_eq!(ReleaseSpec::parse(good).unwrap().faults(), []);
        }
        assert_eq!([fault("crash"), fault("unready")], [Fault::Crash, Fault::Unready]);
        assert_eq!(
            [fault("one-way"), fault("mute=90%")],
            [Fault::OneWay, Fault::Mute { share: 0.9 }]
        );
        assert_eq!(
            [fault("old-peers=x5"), fault("new-pairs=x6"), fault("dependency=x7")],
            [
                Fault::OldPeers { factor: 5.0 },
                Fault::NewPairs { factor: 6.0 },
                Fault::Dependency { factor: 7.0 }
            ]
        );
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
    fn reads_several_faults() {
        let spec = ReleaseSpec::parse("errors=x5 + mute=50%+one-way@zone=a").unwrap();
        let faults = [Fault::Errors { factor: 5.0 }, Fault::Mute { share: 0.5 }, Fault::OneWay];
        assert_eq!(spec.faults(), faults);
        assert_eq!(spec.filters().len(), 1);
        for (text, part) in [
            ("errors=x5+errors=x6", "`errors` and `errors` do not go together"),
            ("errors=x5+late=30m", "`errors` and `late` do not go together"),
            ("crash+good", "`good` has no faults beside it"),
            ("crash+", "`` is not a kind of release"),
        ] {
            assert!(complaint(text).contains(part), "{text}: {}", complaint(text));
        }
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
