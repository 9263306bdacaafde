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
    /// Somebody has stopped a part of the scope. `change`, `kind`, `direction`, `started_ms`.
    ConflictFreeze = "conflict.freeze":
        "{owner} has stopped a part of the scope since {started_ms}" => "it is over when the stop is lifted; whether to go back all the same, a person decides";
    /// A change that goes first is near, along calls. `change`, `kind`, `own_kind`, `direction`, `hops`, `path`, `started_ms`.
    ConflictNear = "conflict.near":
        "change {change} ({direction}) is {hops} calls away ({path}) and goes first, says {rule} {who}" => "it is over when that change is";
    /// Configuration and something else change near each other, along calls. As `conflict.near`.
    ConflictMixed = "conflict.mixed":
        "change {change} of {kind} is {hops} calls away ({path}) from this one of {own_kind} and goes first, says {rule} {who}" => "it is over when that change is";
    /// Another change holds the lease of a part of the scope. `holder`, `key`, `until_ms`.
    ConflictLease = "conflict.lease":
        "{holder} holds the lease of {key} {until}" => "it ends by itself unless renewed";
    /// Some of a budget is left. `of`, `max`, `used`, `over`, `group`, `limit`.
    LimitLeft = "limit.left":
        "{limit} {of} are left of {max} {over} for {group}, says {rule} {who}" => "a batch of that size may go";
    /// Nothing of a budget is left. `of`, `max`, `used`, `over`, `group`.
    LimitReached = "limit.reached":
        "all {max} {of} {over} for {group} are used ({used}), says {rule} {who}, {until}" => "wait, or ask {owner}";
    /// An earlier stage has not been done for long enough. `stage`, `done`, `targets`, `since_ms`.
    SoakShort = "soak.short":
        "stage {stage} has been done since {since_ms} only, says {rule} {who}, {until}" => "wait, or ask {owner}";
    /// An earlier stage is not done. `stage`, `done`, `targets`, `coverage`.
    SoakCoverage = "soak.coverage":
        "stage {stage} is done on {done} of {targets} targets, not on {coverage} %, says {rule} {who}" => "finish it";
    /// No earlier stage has tried a label value. `label`, `value`.
    SoakClass = "soak.class":
        "no earlier stage has tried {label}={value}, says {rule} {who}" => "let an earlier stage cover it";
    /// A version that must not run. `version`, `range`.
    VersionDenied = "version.denied":
        "version {version} is denied ({range}) by {rule} {who}" => "choose another, or ask {owner}";
    /// A version that is not among those that may run. `version`, `range`.
    VersionNotAllowed = "version.not_allowed":
        "version {version} is not {range}, says {rule} {who}" => "choose another, or ask {owner}";
    /// An older version. `version`, `from`.
    VersionDowngrade = "version.downgrade":
        "{version} is older than {from}, says {rule} {who}" => "choose a newer one; a rollback says that it is one";
    /// Too far from a neighbour. `version`, `app`, `theirs`, `skew`.
    VersionSkew = "version.skew":
        "{version} is more than {skew} minor versions from {theirs} of {app}, says {rule} {who}" => "go by way of a version in between, or change {app} first";
    /// One sends what the other does not understand. `format`, `from`, `to`.
    VersionProtocol = "version.protocol":
        "{from} sends `{format}`, and {to} does not understand it, says {rule} {who}" => "first let all read both, then write the new";
    /// An artefact named by a tag. `artefact`.
    VersionMutable = "version.mutable":
        "{artefact} can be another thing tomorrow, says {rule} {who}" => "name it by its digest, name@sha256:...";
    /// An incident is open. `incident`, `severity`.
    IncidentOpen = "incident.open":
        "incident {incident} of severity {severity} is open, says {rule} {who}" => "it is over when the incident is";
    /// Not enough people agreed. `level`, `wanted`, `have`, `author`, `what`.
    ApprovalMissing = "approval.missing":
        "{have} of {wanted} people of level {level} have agreed to {what}, {author} not counted, says {rule} {who}" => "let others look at it, and let each approval name what it is for";
    /// An old change. `what`, `since_ms`.
    AgeExceeded = "age.exceeded":
        "{what} is {since_ms}, too long ago, says {rule} {who}" => "make it anew, or ask {owner}";
    /// Past its deadline. `deadline_ms`.
    AgeDeadline = "age.deadline":
        "its deadline was {deadline_ms}, says {rule} {who}" => "set another, or ask {owner}";
    /// Not enough targets run the version. `version`, `done`, `expected`, `not_ready`, `silent`, `sample`.
    CompleteMissing = "complete.missing":
        "{done} of {expected} targets run {version} and serve, {not_ready} do not serve, {silent} do not say ({sample}), says {rule} {who}" => "finish them";
    /// Metadata says something else than the process. `version`, `count`, `sample`.
    CompleteMismatch = "complete.mismatch":
        "{count} targets run something else than their metadata says ({sample}), says {rule} {who}" => "find out which is true";
    /// Targets that no stage names. `version`, `count`, `sample`.
    CompleteUnlisted = "complete.unlisted":
        "{count} targets of the scope are in no stage ({sample}), says {rule} {who}" => "put them into a stage, or out of the scope";
    /// Something nobody supplied. `what`.
    FactMissing = "fact.missing":
        "{rule} {who} needs {what}, and nobody supplied it" => "supply it";
    /// A fact that is too old. `what`, `seen_ms`, `max_age_s`.
    FactStale = "fact.stale":
        "{rule} {who} needs {what} no older than {max_age_s} s; it was seen {seen_ms}" => "look again";
    /// A fact from the future. `what`, `seen_ms`.
    FactFuture = "fact.future":
        "{what} was seen {seen_ms}, which is yet to come, and {rule} {who} needs it" => "compare the two clocks";
    /// A value that cannot be understood. `what`.
    FactUnreadable = "fact.unreadable":
        "{rule} {who} cannot understand {what}" => "correct it";
    /// Nothing was seen. `what`.
    FactNone = "fact.none":
        "{rule} {who} has seen nothing: {what}" => "nothing seen is not all well: find out why";
    /// A check did not answer in time. `what`.
    CheckTimeout = "check.timeout":
        "{rule} {who} did not answer: {what}" => "ask again, or ask {owner}";
    /// A check reported an error. `what`.
    CheckFailed = "check.failed":
        "{rule} {who} failed: {what}" => "mend it, or ask {owner}";
    /// A rule or check panicked. `what`.
    CheckPanicked = "check.panicked":
        "{rule} {who} panicked: {what}" => "{owner} must mend it";
    /// A critical tier for which no rule of a pack of its own speaks. `tier`.
    PackMissing = "pack.missing":
        "no rule of its own speaks for all of this scope, and its tier `{tier}` is critical" => "let its owner write one, or ask {owner}";
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
