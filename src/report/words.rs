//! What the first screen says, in words, shared by the page and the text report.

use std::cmp::Ordering;

use super::format::{Clock, GLUE, capital, clause, count, duration, percent, shorten, thousands, weight};
use crate::{ActorKind, AsideView, Ask, FaultView, Outcome, Summary};

/// Newest metrics older than this, while a change runs, are called stale.
const STALE_AFTER_MS: u64 = 5 * 60_000;

/// How long a sentence of the first screen may be before it is shortened.
const SENTENCE: usize = 170;

/// How long a name on the first screen may be.
const NAME: usize = 60;

/// How long a question may be that stands beside the one that weighs most.
const BESIDE: usize = 80;

/// What a state means to whoever reads the page. Each has a sign and a word of its own beside its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Running,
    Retreating,
    Asking,
    Frozen,
    Done,
    Indebted,
    /// It has ended by its own word, and most of the fleet does not run what it was to bring.
    Unfinished,
    RolledBack,
    Broken,
    Ended,
}

impl Tone {
    pub(super) fn of(summary: &Summary) -> Self {
        match summary.outcome {
            Some(Outcome::Completed) => Self::Done,
            // What has not come to most of the fleet is no good news.
            Some(Outcome::CompletedWithDebt)
                if summary.exposure.exposed.saturating_mul(2) < summary.exposure.targets =>
            {
                Self::Unfinished
            }
            Some(Outcome::CompletedWithDebt) => Self::Indebted,
            Some(Outcome::RolledBack) => Self::RolledBack,
            Some(Outcome::RolledBackPartially) => Self::Broken,
            Some(Outcome::Aborted) => Self::Ended,
            Some(Outcome::Waiting) => Self::Asking,
            Some(Outcome::Frozen) if summary.ask.is_none() => Self::Frozen,
            _ if summary.ask.is_some() => Self::Asking,
            _ => match summary.state.as_str() {
                "frozen" | "paused" => Self::Frozen,
                "waiting" => Self::Asking,
                "rolling back" => Self::Retreating,
                _ => Self::Running,
            },
        }
    }

    /// The class of the style sheet.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Running => "calm",
            Self::Done => "good",
            Self::Retreating | Self::Frozen | Self::Indebted | Self::RolledBack | Self::Ended => "warn",
            Self::Asking | Self::Broken | Self::Unfinished => "bad",
        }
    }

    /// A sign for terminals and titles.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Running => ">",
            Self::Done => "OK",
            Self::Indebted => "OK+",
            Self::Retreating | Self::RolledBack => "<",
            Self::Frozen => "||",
            Self::Asking | Self::Broken | Self::Unfinished => "!",
            Self::Ended => "x",
        }
    }

    /// Whether the change moves, or could move again, without being started anew.
    pub(super) const fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Retreating | Self::Asking | Self::Frozen)
    }
}

/// The state in one or two words.
pub(super) fn state(summary: &Summary) -> String {
    match summary.outcome {
        Some(outcome) => capital(&outcome.as_str().replace('_', " ")),
        None if summary.state.trim().is_empty() => "In an unknown state".to_owned(),
        None => capital(summary.state.trim()),
    }
}

/// The sentence at the top: where it stands since when, and what that asks of the reader.
pub(super) struct Headline {
    pub(super) stands: String,
    pub(super) question: Option<String>,
    pub(super) act: String,
    pub(super) must_act: bool,
}

pub(super) fn headline(summary: &Summary, clock: &Clock, short: bool) -> Headline {
    let tone = Tone::of(summary);
    let since = clock.at(summary.state_since_ms);
    let word = state(summary);
    let stands = match tone {
        Tone::Done | Tone::Indebted | Tone::Unfinished | Tone::RolledBack | Tone::Broken | Tone::Ended => {
            let at = clock.with_day(summary.state_since_ms);
            format!("{word} {at}, after {}", duration(summary.state_since_ms))
        }
        _ => format!(
            "{word} since {since}, for {}",
            duration(summary.elapsed_ms.saturating_sub(summary.state_since_ms))
        ),
    };
    let name = |text: &str| {
        if short {
            shorten(clause(text), SENTENCE).0
        } else {
            clause(text).to_owned()
        }
    };
    if let Some(ask) = &summary.ask {
        let question = name(&ask.question);
        let question = if question.ends_with('?') {
            question
        } else {
            format!("{question}.")
        };
        let by = clock.at(ask.by_ms);
        let by = match ask.by_ms.cmp(&summary.elapsed_ms) {
            Ordering::Greater => format!("Answer by {by}, {}", distance(summary, ask.by_ms)),
            Ordering::Equal => format!("The answer was due at {by}"),
            Ordering::Less => format!("The answer was due at {by}, {}", distance(summary, ask.by_ms)),
        };
        let by = if ask.id > 0 {
            format!("{by} (question {})", ask.id)
        } else {
            by
        };
        let act = format!("{by}; otherwise {}.", name(&ask.otherwise));
        return Headline {
            stands,
            question: Some(question),
            act,
            must_act: true,
        };
    }
    let (act, must_act) = act(summary, clock, tone, short);
    Headline {
        stands,
        question: None,
        act,
        must_act,
    }
}

/// What a state that asks no question asks of the reader.
fn act(summary: &Summary, clock: &Clock, tone: Tone, short: bool) -> (String, bool) {
    let version = |text: &str| if short { shorten(text, NAME).0 } else { text.to_owned() };
    let still = summary.exposure.exposed;
    let lost = match summary.lost {
        0 => String::new(),
        lost => format!(" and {} nothing", count(lost, "target serves", "targets serve")),
    };
    match tone {
        _ if summary.is_withheld() => {
            let again = match summary.outcome {
                Some(_) => ", then start the run again",
                None => "",
            };
            (
                format!("Nothing moves, as the permit lets no effect be sent: have it say yes{again}."),
                true,
            )
        }
        Tone::Asking => (
            "A person must decide; no question is recorded: read the last decision below.".to_owned(),
            true,
        ),
        Tone::Frozen => (frozen(summary, clock), true),
        Tone::Broken => {
            let what = if still > 0 || summary.lost == 0 {
                let still = count(still, "target still runs", "targets still run");
                format!("{still} {}{lost}", version(&summary.to))
            } else {
                count(summary.lost, "target serves nothing", "targets serve nothing")
            };
            (
                format!("You must look: {what}; nothing brings them back by itself."),
                true,
            )
        }
        Tone::Ended => (
            format!(
                "{} ended it where it stood: {} {}{lost}; it does not go on by itself.",
                who_ended(summary, short),
                count(still, "target runs", "targets run"),
                version(&summary.to)
            ),
            summary.lost > 0,
        ),
        _ if summary.lost > 0 => {
            let serve = if summary.lost == 1 {
                "target serves"
            } else {
                "targets serve"
            };
            (
                format!(
                    "You must look: {}{GLUE}{serve} nothing and will not heal alone.",
                    thousands(summary.lost)
                ),
                true,
            )
        }
        Tone::Done => ("Nothing for you to do.".to_owned(), false),
        Tone::Indebted | Tone::Unfinished => {
            let first = summary.debts.iter().map(|debt| debt.expires_unix_ms).min();
            let by = first.map_or_else(String::new, |first| format!(", the first by {}", clock.at_unix(first)));
            let debts = u64::try_from(summary.debts.len()).unwrap_or(u64::MAX);
            let must = if debts == 1 {
                "its owner must look at it"
            } else {
                "their owners must look at them"
            };
            let left = count(debts, "target was", "targets were");
            let most = tone == Tone::Unfinished;
            let aside: Vec<&str> = summary.aside.iter().map(|aside| aside.classes.as_str()).collect();
            let urgency = match (most, aside.is_empty()) {
                (true, _) => "Most of the fleet does not run it: ".to_owned(),
                (false, true) => "Not urgent: ".to_owned(),
                (false, false) => {
                    let (to, aside) = (version(&summary.to), version(&aside.join(" and ")));
                    format!("{to} does harm in {aside}, which was taken back: ")
                }
            };
            (format!("{urgency}{left} left behind; {must}{by}."), most)
        }
        Tone::RolledBack => (
            format!(
                "Every touched target runs {} again; nothing for you to do.",
                version(&summary.from)
            ),
            false,
        ),
        _ if summary.stuck > 0 => {
            let lanes = count(summary.stuck, "lane is", "lanes are");
            (
                format!("No deadline, but {lanes} stuck until somebody helps; the others go on without you."),
                false,
            )
        }
        Tone::Retreating => ("Nothing for you to do: it goes back by itself.".to_owned(), false),
        Tone::Running => (
            "Nothing for you to do: it goes on, or stops, by itself.".to_owned(),
            false,
        ),
    }
}

/// What a freeze or a pause asks of the reader, and how long it lasts.
fn frozen(summary: &Summary, clock: &Clock) -> String {
    if summary.outcome.is_some() {
        return "Nothing moves until a person resumes it, in a run that is started again; there is no deadline."
            .to_owned();
    }
    let moves = match summary.state.as_str() {
        "paused" => "Nothing goes forward until a person resumes it",
        _ => "Nothing moves until a person resumes it",
    };
    match summary.freeze_ends_ms {
        Some(ends_ms) => format!(
            "{moves}; otherwise the run ends as frozen at {}.",
            moment(summary, clock, ends_ms)
        ),
        None => format!("{moves}."),
    }
}

/// Who ended it where it stood. A summary of an earlier version does not say.
fn who_ended(summary: &Summary, short: bool) -> String {
    let Some(actor) = &summary.ended_by else {
        return "Somebody".to_owned();
    };
    let named = actor.to_string();
    let named = if short { name(&named) } else { named };
    match actor.kind {
        ActorKind::Person => named,
        ActorKind::Program => format!("The program {named}"),
    }
}

/// The open questions beside the one that weighs most: what is asked, with its number, and by when. Shortened, that is left out where
/// it is no sooner than what stands above.
pub(super) fn beside(summary: &Summary, clock: &Clock, short: bool) -> Vec<String> {
    let others = beside_asks(summary).map(|ask| {
        let question = clause(&ask.question);
        let question = if short { abridged(question) } else { question.to_owned() };
        let by = match ask.by_ms.cmp(&summary.elapsed_ms) {
            Ordering::Greater => format!("by {}", clock.at(ask.by_ms)),
            _ => format!("due at {}", clock.at(ask.by_ms)),
        };
        let is_sooner = summary.ask.as_ref().is_none_or(|first| ask.by_ms < first.by_ms);
        if short && !is_sooner {
            return format!("(question {}): {question}", ask.id);
        }
        format!("(question {}, {by}): {question}", ask.id)
    });
    others.collect()
}

/// A question that is too long, with its last clause: that is what is asked.
fn abridged(question: &str) -> String {
    let (short, is_cut) = shorten(question, BESIDE);
    match question.rsplit_once(": ") {
        Some((why, asked)) if is_cut && asked.chars().count() < BESIDE / 2 => {
            format!("{} {asked}", shorten(why, BESIDE - asked.chars().count()).0)
        }
        _ => short,
    }
}

fn beside_asks(summary: &Summary) -> impl Iterator<Item = &Ask> {
    let first = summary.ask.as_ref().map(|ask| ask.id);
    summary.asks.iter().filter(move |ask| Some(ask.id) != first)
}

/// The e-value against what a stop needs: `3.2 of 100 needed`.
pub(super) fn of_needed(summary: &Summary) -> String {
    format!(
        "{} of {}{GLUE}needed",
        weight(summary.evidence.value),
        weight(summary.evidence.needed)
    )
}

/// What the e-value means.
pub(super) fn meaning(summary: &Summary) -> &'static str {
    let (value, needed) = (summary.evidence.value, summary.evidence.needed);
    if value.is_nan() || needed.is_nan() {
        "nobody can say"
    } else if value >= needed {
        "enough to stop"
    } else if value >= 0.1 * needed {
        "watch it"
    } else {
        "far from a stop"
    }
}

/// What was stopped and taken back of the change, in full.
pub(super) fn aside(aside: &AsideView, clock: &Clock) -> String {
    format!(
        "{} was set aside at {} with {} exposed: {}.",
        aside.classes,
        clock.at(aside.at_ms),
        thousands(aside.exposed),
        clause(&aside.why)
    )
}

/// The strongest evidence in words, or that there is none.
pub(super) fn strongest(summary: &Summary) -> &str {
    if summary.evidence.strongest.trim().is_empty() {
        "No evidence is recorded yet."
    } else {
        summary.evidence.strongest.trim()
    }
}

/// One row of the split of errors: class, rate on new instances, rate on the control cohort. Their ratio is not shown:
/// the applications behind the two differ in share and in rate, and only the judge compares like with like.
pub(super) fn fault(fault: &FaultView) -> [String; 3] {
    let rate = |bad, total| {
        if total == 0 {
            "no data".to_owned()
        } else {
            percent(bad, total)
        }
    };
    [
        fault.class.clone(),
        rate(fault.canary_bad, fault.canary_total),
        rate(fault.control_bad, fault.control_total),
    ]
}

/// What is exposed besides the number of targets.
pub(super) fn reach(summary: &Summary) -> Vec<String> {
    let exposure = &summary.exposure;
    let mut out = vec![format!(
        "{} of {}",
        thousands(exposure.exposed_applications),
        count(exposure.applications, "application", "applications")
    )];
    match exposure.worst_tier.as_deref() {
        Some(tier) => out.push(format!("worst tier {}", shorten(tier, NAME).0)),
        None if exposure.exposed > 0 => out.push("worst tier unknown".to_owned()),
        None => {}
    }
    if exposure.in_flight > 0 {
        out.push(format!("{} under{GLUE}way", thousands(exposure.in_flight)));
    }
    if let Some(at_stop) = summary.exposed_at_stop {
        out.push(format!("{} at the stop", thousands(at_stop)));
    }
    if summary.rolled_back > 0 {
        out.push(format!("{} brought{GLUE}back", thousands(summary.rolled_back)));
    }
    out
}

/// The three numbers that should be 0, with what they mean.
pub(super) const fn alarms(summary: &Summary) -> [(&'static str, u64, &'static str); 3] {
    [
        ("closed", summary.closed, "were left without traffic"),
        ("stuck", summary.stuck, "lanes that waiting does not cure"),
        ("lost", summary.lost, "targets that serve nothing"),
    ]
}

/// When the next step happens, as a moment and a distance.
pub(super) fn moment(summary: &Summary, clock: &Clock, at_ms: u64) -> String {
    format!("{}, {}", clock.at(at_ms), distance(summary, at_ms))
}

/// `in 28 min`, `5 min ago`.
fn distance(summary: &Summary, at_ms: u64) -> String {
    if at_ms >= summary.elapsed_ms {
        format!("in{GLUE}{}", duration(at_ms - summary.elapsed_ms))
    } else {
        format!("{}{GLUE}ago", duration(summary.elapsed_ms - at_ms))
    }
}

/// When everything is done.
pub(super) fn eta(summary: &Summary, clock: &Clock) -> String {
    match (Tone::of(summary).is_live(), summary.next.eta_ms) {
        (false, _) => format!("ended {}", clock.with_day(summary.state_since_ms)),
        (true, Some(eta)) => moment(summary, clock, eta),
        (true, None) => "not known".to_owned(),
    }
}

/// How old the newest metrics are, and whether that is too old.
pub(super) fn age(summary: &Summary, clock: &Clock, generated_unix_ms: Option<i64>) -> (String, bool) {
    let live = Tone::of(summary).is_live();
    let until = clock.unix_ms(summary.data_until_ms);
    let now = generated_unix_ms
        .filter(|_| live)
        .unwrap_or_else(|| clock.unix_ms(summary.elapsed_ms));
    let age = u64::try_from(now.saturating_sub(until)).unwrap_or(0);
    let stale = live && age > STALE_AFTER_MS;
    let words = match (live, stale) {
        (false, _) => "old at the end",
        (true, false) => "old",
        (true, true) => "old: stale",
    };
    (format!("{} {words}", duration(age)), stale)
}

/// The texts of the first screen that were too long for it, with their names.
pub(super) fn unabridged(summary: &Summary) -> Vec<(&'static str, &str)> {
    let mut out: Vec<(&str, &str)> = Vec::new();
    let mut long = |label, text, limit| {
        if shorten(text, limit).1 {
            out.push((label, text));
        }
    };
    long("Change", &summary.change, NAME);
    long("From", &summary.from, NAME);
    long("To", &summary.to, NAME);
    if let Some(ask) = &summary.ask {
        long("You are asked", clause(&ask.question), SENTENCE);
        long("Otherwise", clause(&ask.otherwise), SENTENCE);
    }
    for ask in beside_asks(summary) {
        long("Also asked", clause(&ask.question), BESIDE);
    }
    if let Some(tier) = &summary.exposure.worst_tier {
        long("Worst tier", tier, NAME);
    }
    long("Why", strongest(summary), SENTENCE);
    if let Some(scope) = &summary.evidence.scope {
        long("Where", scope, NAME);
    }
    long("Next", &summary.next.what, SENTENCE);
    if let Some(by) = &summary.next.blocked_by {
        long("Held by", by, NAME);
    }
    out
}

/// A sentence of the first screen, shortened.
pub(super) fn sentence(text: &str) -> String {
    shorten(text, SENTENCE).0
}

/// A name on the first screen, shortened.
pub(super) fn name(text: &str) -> String {
    shorten(text, NAME).0
}
/// Whether it kept its deadline, as far as that is known.
pub(super) fn deadline(summary: &Summary, clock: &Clock, at_unix_ms: i64) -> String {
    let past = clock.unix_ms(summary.elapsed_ms).saturating_sub(at_unix_ms);
    let by = duration(past.unsigned_abs());
    let at = clock.at_unix(at_unix_ms);
    let reached = matches!(summary.outcome, Some(Outcome::Completed | Outcome::CompletedWithDebt));
    match (reached, past > 0) {
        (true, true) => format!("{at}, missed by {by}"),
        (true, false) => format!("{at}, kept"),
        (false, true) => format!("{at}, passed {by} before"),
        (false, false) => at,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{HOUR, plain, sample};
    use super::*;

    #[test]
    fn a_deadline_is_kept_missed_or_still_to_come() {
        let mut summary = sample();
        let began = summary.began_unix_ms;
        let mut said = |outcome, hours: i64| {
            summary.outcome = outcome;
            let clock = Clock::new(began, summary.elapsed_ms, None);
            plain(deadline(&summary, &clock, began + hours * i64::try_from(HOUR).unwrap()))
        };
        assert_eq!(said(None, 10), "12:00 UTC");
        assert_eq!(said(None, 7), "09:00 UTC, passed 2 h before");
        assert_eq!(said(Some(Outcome::RolledBack), 7), "09:00 UTC, passed 2 h before");
        assert_eq!(said(Some(Outcome::RolledBack), 10), "12:00 UTC");
        assert_eq!(said(Some(Outcome::Completed), 9), "11:00 UTC, kept");
        assert_eq!(said(Some(Outcome::CompletedWithDebt), 6), "08:00 UTC, missed by 3 h");
    }
}
