//! Stable codes, and the sentences made from them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal: $what:literal => $change:literal;)*) => {
        /// The stable code of a finding. Its parameters are named beside it; sentences are made from both.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)*
            /// The code of an embedder's own rule or check, or of a later version of this crate. Parameter `text`.
            Own(String),
        }

        impl Code {
            /// Every code of this version, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code as text; it never changes its meaning.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Own(text) => text,
                }
            }

            /// The code with this text.
            #[must_use]
            pub fn named(text: &str) -> Self {
                match text {
                    $($text => Self::$name,)*
                    own => Self::Own(own.to_owned()),
                }
            }

            /// What is so, and what would change it; `{...}` stands for parameters and for parts of the finding.
            pub(super) const fn sentences(&self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$name => ($what, $change),)*
                    Self::Own(_) => ("{rule} {who}: {text}", "ask {owner}"),
                }
            }
        }
    };
}

codes! {
    /// Inside a protected window. `from_ms`, `until_ms`, `zone`.
    WindowProtected = "window.protected":
        "inside protected window {rule} {who}, {until}" => "wait, or ask {owner}";
    /// A protected window begins before batch and rollback would be over. `from_ms`, `until_ms`, `zone`.
    WindowProtectedRoom = "window.protected_room":
        "batch and rollback would run into protected window {rule} {who} at {from_ms}; {again}" => "a shorter batch may go sooner";
    /// Outside the change windows of a pack. `from_ms`, `until_ms`, `zone`.
    WindowChange = "window.change":
        "outside change window {rule} {who}, closed since {from_ms}, {until}" => "wait, or ask {owner}";
    /// The change windows of a pack close before batch and rollback would be over. `from_ms`, `until_ms`, `zone`.
    WindowChangeRoom = "window.change_room":
        "batch and rollback would run into the end of change window {rule} {who} at {from_ms}; {again}" => "a shorter batch may go sooner";
    /// Inside a freeze. `from_ms`, `until_ms`, `zone`.
    FreezeActive = "freeze.active":
        "inside freeze {rule} {who}, {until}" => "wait, or ask {owner} to lift it";
    /// A freeze begins before batch and rollback would be over. `from_ms`, `until_ms`, `zone`.
    FreezeRoom = "freeze.room":
        "batch and rollback would run into freeze {rule} {who} at {from_ms}; {again}" => "a shorter batch may go sooner";
    /// A rule that would close the scope now selects on a label nobody supplied. `label` and those of the window.
    LabelMissing = "label.missing":
        "cannot tell whether {rule} {who} applies: the label `{label}` of the scope is unknown" => "supply it, or \"\" if there is none";
    /// Change windows treat parts of the scope differently. The parameters of the window.
    LabelMixed = "label.mixed":
        "change window {rule} {who} selects only a part of the scope" => "ask once for each of its label values";
    /// A change that goes first touches the same targets, or may. `change`, `kind`, `direction`, `started_ms`.
    ConflictScope = "conflict.scope":
        "change {change} ({direction}) overlaps and goes first, having started at {started_ms}" => "it is over when that change is";
    /// The condition of a rule holds. `because`: the clauses that made it hold.
    ConditionMet = "condition.met":
        "{rule} {who} holds: {because}" => "something else must be so, or ask {owner}";
    /// Nobody can tell whether the condition of a rule holds. `because`: the clauses that are open.
    ConditionUnknown = "condition.unknown":
        "cannot tell whether {rule} {who} holds: {because}" => "supply what is missing, fresh enough";
    /// A rule asks for a person each time. No parameters.
    RulePerson = "rule.person":
        "{rule} {who} asks for a person each time" => "{owner} decides";
    /// The time asked about is not between 1970 and 2199. `now_ms`.
    TimeRange = "time.range":
        "the time asked about, {now_ms} ms since 1970, is not between 1970 and 2199" => "check the clock and the unit";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::named(&text))
    }
}
