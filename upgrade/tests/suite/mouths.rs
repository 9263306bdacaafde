//! Who answers where traffic comes in.
use unattended_upgrade::*;

/// Who answers a probe, and what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Mouths {
    /// Whoever accepts, one after the other.
    #[default]
    InTurns,
    Silent,
    /// The instance of this version says nothing.
    SilentFor(&'static str),
    /// The instance of this version says that it is ill.
    Ill(&'static str),
}

impl Mouths {
    pub(crate) fn say(self, seen: &Observation, turn: u64) -> Probe {
        let mut takers: Vec<Probe> = Vec::new();
        let mut take = |instance, version: &Option<Version>, self_check: &SelfCheck| {
            takers.push(Probe {
                instance,
                version: version.clone(),
                self_check: self_check.clone(),
            });
        };
        match &seen.pair {
            Some(pair) => {
                for slot in pair.slots.iter().filter(|slot| slot.accepting) {
                    take(slot.instance, &slot.version, &slot.self_check);
                }
            }
            None => take(seen.instance, &seen.version, &seen.self_check),
        }
        let nobody = Probe {
            instance: None,
            version: None,
            self_check: SelfCheck::Unreported,
        };
        if takers.is_empty() {
            return nobody;
        }
        let mut answer = takers.swap_remove(usize::try_from(turn).unwrap() % takers.len());
        let is = |version: &str| answer.version == Some(version.into());
        match self {
            Self::InTurns => {}
            Self::Silent => return nobody,
            Self::SilentFor(version) if is(version) => return nobody,
            Self::Ill(version) if is(version) => {
                answer.self_check = SelfCheck::Failed {
                    check: "upstream".into(),
                }
            }
            Self::SilentFor(_) | Self::Ill(_) => {}
        }
        answer
    }
}
