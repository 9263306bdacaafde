//! Which mode a target is changed in: the gentlest that can work, there and back.
use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::mode::missing_for;
use crate::{Capabilities, Mode};

/// The mode that somebody asked for, and the downgrade policy: what a target gets that cannot do it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Wanted {
    /// The gentlest that can work: hot, else warm, else cold.
    #[default]
    Auto,
    /// Hot, else warm; a target that can do neither is refused rather than restarted.
    NotCold,
    /// Cold and nothing else.
    Cold,
    /// Warm and nothing else.
    Warm,
    /// Hot and nothing else.
    Hot,
}

impl Wanted {
    /// From the gentlest down.
    const fn modes(self) -> &'static [Mode] {
        match self {
            Self::Auto => &[Mode::Hot, Mode::Warm, Mode::Cold],
            Self::NotCold => &[Mode::Hot, Mode::Warm],
            Self::Hot => &[Mode::Hot],
            Self::Warm => &[Mode::Warm],
            Self::Cold => &[Mode::Cold],
        }
    }
}

/// What is known of one target when its mode is chosen.
///
/// What stands against a way back must be told: a caller that does not tell vouches for it. What a hot upgrade needs of the
/// target (memory, a common protocol) must be told as well, and refuses hot as long as it is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// What the platform can do.
    pub capabilities: Capabilities,
    /// Bytes of memory that a second copy needs, and that are free for it.
    pub memory: Option<(u64, u64)>,
    /// The versions of the hand-over protocol that the old and the new version speak.
    pub protocols: Option<(RangeInclusive<u32>, RangeInclusive<u32>)>,
    /// The old version can still be started: its image is there.
    pub old_is_there: bool,
    /// The new version reads the configuration that is in force.
    pub new_reads_config: bool,
    /// The old version still reads it after the new one has worked with it.
    pub old_reads_config: bool,
}

impl Facts {
    /// Of a target of whom nothing else is known.
    pub const fn new(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            memory: None,
            protocols: None,
            old_is_there: true,
            new_reads_config: true,
            old_reads_config: true,
        }
    }

    /// With the bytes that a second copy needs, and the bytes that are free.
    #[must_use]
    pub const fn memory(mut self, needed: u64, free: u64) -> Self {
        self.memory = Some((needed, free));
        self
    }

    /// With the versions of the hand-over protocol that the two versions speak.
    #[must_use]
    pub const fn protocols(mut self, old: RangeInclusive<u32>, new: RangeInclusive<u32>) -> Self {
        self.protocols = Some((old, new));
        self
    }

    /// With whether the old version's image is still there.
    #[must_use]
    pub const fn old_is_there(mut self, there: bool) -> Self {
        self.old_is_there = there;
        self
    }

    /// Asks `compatible(config, from, to)` in both directions: whether `to` reads what `from` has worked with.
    #[must_use]
    pub fn compatible<C: ?Sized, V: ?Sized>(
        mut self,
        config: &C,
        old: &V,
        new: &V,
        compatible: impl Fn(&C, &V, &V) -> bool,
    ) -> Self {
        self.new_reads_config = compatible(config, old, new);
        self.old_reads_config = compatible(config, new, old);
        self
    }

    /// Why no mode can work, there or back. A rollback that cannot work is found here, before anything is touched; for a
    /// change of configuration this is all there is to ask.
    pub const fn against_all(&self) -> Option<Refusal> {
        if !self.new_reads_config {
            Some(Refusal::NewCannotReadConfig)
        } else if !self.old_is_there {
            Some(Refusal::OldIsGone)
        } else if !self.old_reads_config {
            Some(Refusal::OldCannotReadConfig)
        } else {
            None
        }
    }

    /// Why this mode is not for this target.
    pub fn against(&self, mode: Mode) -> Option<Refusal> {
        let everywhere = self.against_all();
        if everywhere.is_some() {
            return everywhere;
        }
        let able = &self.capabilities;
        if let Some(missing) = able.contradiction().or_else(|| missing_for(able, mode)) {
            return Some(Refusal::Missing { what: missing });
        }
        if mode != Mode::Hot {
            return None;
        }
        match (&self.memory, &self.protocols) {
            (None, _) => Some(Refusal::MemoryUnknown),
            (Some((needed, free)), _) if needed > free => Some(Refusal::Memory {
                needed: *needed,
                free: *free,
            }),
            (_, None) => Some(Refusal::ProtocolUnknown),
            (_, Some((old, new))) => {
                let common = old.start().max(new.start()) <= old.end().min(new.end());
                (!common).then(|| Refusal::NoCommonProtocol {
                    old: (*old.start(), *old.end()),
                    new: (*new.start(), *new.end()),
                })
            }
        }
    }
}

/// Why a mode is not for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case", tag = "why")]
#[non_exhaustive]
pub enum Refusal {
    /// The platform cannot do it.
    Missing {
        /// What it lacks.
        what: &'static str,
    },
    /// The new version cannot read the configuration that is in force.
    NewCannotReadConfig,
    /// The old version cannot be started any more, so there is no way back.
    OldIsGone,
    /// The old version could not read the configuration afterwards, so there is no way back.
    OldCannotReadConfig,
    /// Nobody says whether there is memory for two copies.
    MemoryUnknown,
    /// There is no memory for two copies.
    Memory {
        /// Bytes that the second needs.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Nobody says which hand-over protocol the versions speak.
    ProtocolUnknown,
    /// The two versions have no hand-over protocol in common.
    NoCommonProtocol {
        /// First and last that the old one speaks.
        old: (u32, u32),
        /// First and last that the new one speaks.
        new: (u32, u32),
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { what } => write!(f, "the platform: {what}"),
            Self::NewCannotReadConfig => f.write_str("the new version cannot read the configuration in force"),
            Self::OldIsGone => f.write_str("no way back: the old version's image is gone"),
            Self::OldCannotReadConfig => f.write_str("no way back: the old version could not read the configuration"),
            Self::MemoryUnknown => f.write_str("it is not known whether memory suffices for two copies"),
            Self::Memory { needed, free } => {
                write!(f, "a second copy needs {needed} bytes of memory and {free} are free")
            }
            Self::ProtocolUnknown => f.write_str("it is not known which hand-over protocol the versions speak"),
            Self::NoCommonProtocol { old, new } => write!(
                f,
                "no common hand-over protocol: the old version speaks {} to {}, the new one {} to {}",
                old.0, old.1, new.0, new.1
            ),
        }
    }
}

/// The mode that was chosen, and why no gentler one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ModeChoice {
    /// Use this.
    pub mode: Mode,
    /// The gentler modes that were wanted too, from the gentlest down, each with what stands against it.
    pub refused: Vec<(Mode, Refusal)>,
}

/// No mode that was wanted can work. Nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModeError {
    /// What was wanted, from the gentlest down, each with what stands against it.
    pub refused: Vec<(Mode, Refusal)>,
}

impl fmt::Display for ModeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the target cannot be upgraded as wanted:")?;
        for (at, (mode, refusal)) in self.refused.iter().enumerate() {
            let comma = if at == 0 { "" } else { ";" };
            write!(f, "{comma} not {mode}, because {refusal}")?;
        }
        let lacks_a_mode = |(_, refusal): &(Mode, Refusal)| matches!(refusal, Refusal::Missing { .. });
        if self.refused.iter().all(lacks_a_mode) {
            f.write_str("; ask for `auto` or `cold`")?;
        }
        Ok(())
    }
}

impl std::error::Error for ModeError {}

/// Chooses the gentlest mode that can work, or checks the one that was wanted.
///
/// ```
/// use unattended_upgrade::{Capabilities, Facts, Mode, Refusal, Wanted, choose_mode};
///
/// let able = Capabilities::none().with_ingress().with_in_place().with_slots().with_hand_over();
/// let facts = Facts::new(able).memory(64 << 20, 512 << 20).protocols(1..=3, 2..=4);
/// assert_eq!(choose_mode(&facts, Wanted::Auto)?.mode, Mode::Hot);
///
/// let choice = choose_mode(&facts.memory(64 << 20, 8 << 20), Wanted::Auto)?;
/// assert_eq!(choice.mode, Mode::Warm);
/// assert!(matches!(choice.refused[0], (Mode::Hot, Refusal::Memory { .. })));
///
/// // A rollback that cannot work is refused before the start, whatever the mode.
/// let no_way_back = Facts::new(able).old_is_there(false);
/// assert!(choose_mode(&no_way_back, Wanted::Auto).is_err());
/// # Ok::<(), unattended_upgrade::ModeError>(())
/// ```
pub fn choose_mode(facts: &Facts, wanted: Wanted) -> Result<ModeChoice, ModeError> {
    let mut refused = Vec::new();
    for &mode in wanted.modes() {
        match facts.against(mode) {
            None => return Ok(ModeChoice { mode, refused }),
            Some(refusal) => refused.push((mode, refusal)),
        }
    }
    Err(ModeError { refused })
}
