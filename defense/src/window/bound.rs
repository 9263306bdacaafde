//! What bounds the time of one request: closed spans, and the change hours of a pack.

use crate::index::{Index, Vocabulary};
use crate::pack::Pack;
use crate::request::{Direction, Need};
use crate::selector::Match;
use crate::time::DAY_MS;
use crate::verdict::{UnknownReason, Verdict};
use crate::window::Occurrence;
use crate::window::{Rollback, Window, WindowKind};

/// The room a request needs, told apart by whether a window grants rollbacks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    kind: Direction,
    batch_ms: i64,
    whole_ms: i64,
}

impl Room {
    pub(crate) fn new(kind: Direction, need: Need) -> Self {
        // A need of more than the calendar knows is as good as endless; a need of nothing asks about an instant.
        let length = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX).clamp(1, 40_000 * DAY_MS);
        Self {
            kind,
            batch_ms: length(need.batch_ms),
            whole_ms: length(need.batch_ms.saturating_add(need.rollback_ms)),
        }
    }

    /// An instant of a forward change.
    pub(crate) fn instant() -> Self {
        Self::new(Direction::Forward, Need::default())
    }

    /// How long a window must leave the scope alone; `None` when it does not bind the request at all.
    fn under(self, rollback: Rollback) -> Option<i64> {
        match (self.kind, rollback) {
            (Direction::Rollback, Rollback::Allowed) => None,
            (Direction::Forward, Rollback::Allowed) => Some(self.batch_ms),
            (_, Rollback::Forbidden) => Some(self.whole_ms),
        }
    }
}

/// One window, or the change windows of one pack, as it bounds one request.
#[derive(Debug)]
pub(crate) enum Bound<'g> {
    /// A protected window or a freeze.
    Closed {
        window: &'g Window,
        missing: Option<&'g str>,
        room_ms: i64,
    },
    /// The change windows of a pack that touch the scope. `first` stands for them in findings.
    Hours {
        first: &'g Window,
        /// The strictest of all that touch.
        rollback: Rollback,
        /// Those that select the whole scope; only they grant anything.
        grants: Vec<&'g Window>,
        /// Why none does, and all that might.
        doubt: Option<(UnknownReason, &'g str)>,
        doubtful: Vec<&'g Window>,
        room_ms: i64,
    },
}

/// How a bound stops a start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    pub(crate) from: i64,
    /// The first start this bound alone would let pass; `None` when there is none before the limit.
    pub(crate) until: Option<i64>,
    /// Whether the start itself is closed; otherwise it is the room after it that is too small.
    pub(crate) active: bool,
}

impl<'g> Bound<'g> {
    /// The bounds that windows set to a request whose scope they meet, or may, in the order of the windows. `windows` ascend
    /// by pack.
    pub(crate) fn collect(windows: impl Iterator<Item = (&'g Window, Match<'g>)>, room: Room) -> Vec<Self> {
        let mut bounds = Vec::new();
        let mut hours: Vec<(&'g Window, Match<'g>)> = Vec::new();
        for (window, matched) in windows {
            if window.kind == WindowKind::Change {
                if hours.first().is_some_and(|(first, _)| first.pack != window.pack) {
                    bounds.extend(Self::hours(&hours, room));
                    hours.clear();
                }
                hours.push((window, matched));
            } else if let Some(room_ms) = room.under(window.rollback) {
                let missing = if let Match::Maybe(key) = matched {
                    Some(key)
                } else {
                    None
                };
                bounds.push(Self::Closed {
                    window,
                    missing,
                    room_ms,
                });
            }
        }
        bounds.extend(Self::hours(&hours, room));
        bounds
    }

    /// The change windows of one pack are one window: open is their union. It binds a rollback unless all of them
    /// grant rollbacks outside.
    fn hours(touching: &[(&'g Window, Match<'g>)], room: Room) -> Option<Self> {
        let (first, _) = *touching.first()?;
        let strictest = touching.iter().map(|(window, _)| window.rollback).max()?;
        let room_ms = room.under(strictest)?;
        let grants: Vec<_> = touching
            .iter()
            .filter(|(_, m)| *m == Match::All)
            .map(|(window, _)| *window)
            .collect();
        let doubt = if !grants.is_empty() {
            None
        } else if touching.iter().any(|(_, m)| *m == Match::Part) {
            Some((UnknownReason::MixedLabels, ""))
        } else {
            touching.iter().find_map(|(_, m)| match m {
                Match::Maybe(key) => Some((UnknownReason::MissingLabel, *key)),
                _ => None,
            })
        };
        let doubtful = match doubt {
            Some(_) => touching.iter().map(|(window, _)| *window).collect(),
            None => Vec::new(),
        };
        Some(Self::Hours {
            first,
            rollback: strictest,
            grants,
            doubt,
            doubtful,
            room_ms,
        })
    }

    /// The window that stands for the bound.
    pub(crate) fn window(&self) -> &'g Window {
        match self {
            Self::Closed { window, .. } => window,
            Self::Hours { first, .. } => first,
        }
    }

    /// Whether rollbacks may run where the bound closes.
    pub(crate) fn rollback(&self) -> Rollback {
        match self {
            Self::Closed { window, .. } => window.rollback,
            Self::Hours { rollback, .. } => *rollback,
        }
    }

    /// Why the bound may not apply after all, with the label that would tell.
    pub(crate) fn doubt(&self) -> Option<(UnknownReason, &'g str)> {
        match self {
            Self::Closed { missing, .. } => missing.map(|key| (UnknownReason::MissingLabel, key)),
            Self::Hours { doubt, .. } => *doubt,
        }
    }

    /// The earliest start at or after `start` with room under this bound alone, unless it lies beyond `limit`.
    pub(crate) fn earliest(&self, start: i64, limit: i64) -> Option<i64> {
        let mut at = start;
        while at <= limit {
            match self {
                Self::Closed { window, room_ms, .. } => match window.when.first_ending_after(at) {
                    Some(next) if next.from < at + room_ms => at = next.until,
                    _ => return Some(at),
                },
                // One way through all of them, since there may be hundreds before there is room.
                Self::Hours { grants, room_ms, .. } => return Hours::of(grants).earliest(start, *room_ms, limit),
            }
        }
        None
    }

    /// How this bound stops a start at `start`, if it does.
    pub(crate) fn block(&self, start: i64, limit: i64) -> Option<Block> {
        match self {
            Self::Closed { window, room_ms, .. } => {
                let next = window.when.first_ending_after(start)?;
                (next.from < start + room_ms).then(|| Block {
                    from: next.from,
                    until: self.earliest(next.until, limit),
                    active: next.from <= start,
                })
            }
            Self::Hours { grants, .. } => {
                let until = self.earliest(start, limit);
                if until == Some(start) {
                    return None;
                }
                let open_until = Hours::of(grants).open_until(start, limit);
                let active = open_until == start;
                let from = if active {
                    closing_before(grants, start)
                } else {
                    open_until
                };
                Some(Block { from, until, active })
            }
        }
    }

    /// The closed spans of this bound that meet `[from, until)`, clipped to it, in order.
    pub(crate) fn closed(&self, from: i64, until: i64) -> Vec<Occurrence> {
        let mut spans = Vec::new();
        let mut hours = None;
        let mut at = from;
        while at < until {
            let span = match self {
                Self::Closed { window, .. } => {
                    let Some(next) = window.when.first_ending_after(at) else {
                        break;
                    };
                    Occurrence {
                        from: next.from.max(at),
                        until: next.until.min(until),
                    }
                }
                Self::Hours { grants, .. } => {
                    let hours = hours.get_or_insert_with(|| Hours::of(grants));
                    let closes = hours.open_until(at, until);
                    let opens = hours.opening_after(closes).unwrap_or(until);
                    Occurrence {
                        from: closes,
                        until: opens.min(until),
                    }
                }
            };
            if span.from >= until {
                break;
            }
            at = span.until;
            spans.push(span);
        }
        spans
    }
}

/// The earliest start at or after `start` that every bound allows.
///
/// Each bound moves the start to the earliest it could accept. That never passes over a feasible one, so when all have
/// agreed to one start it is the earliest of all.
pub(crate) fn earliest_of_all(bounds: &[Bound<'_>], start: i64, limit: i64) -> Option<i64> {
    let mut at = start;
    let mut agreed = 0;
    for bound in bounds.iter().cycle() {
        if agreed == bounds.len() {
            break;
        }
        let earliest = bound.earliest(at, limit)?;
        // Who moves the start agrees to it.
        agreed = if earliest == at { agreed + 1 } else { 1 };
        at = earliest;
    }
    Some(at)
}

/// The change windows of a pack on a way forward in time, each with the occurrence it has come to.
#[derive(Debug)]
struct Hours<'g> {
    grants: &'g [&'g Window],
    /// The earliest that ends after the instant each was last asked about; `None` when there is none any more.
    next: Vec<Option<Occurrence>>,
}

impl<'g> Hours<'g> {
    fn of(grants: &'g [&'g Window]) -> Self {
        // Nothing ends before time began, so each is looked for when it is first asked for.
        let never = Occurrence {
            from: i64::MIN,
            until: i64::MIN,
        };
        Self {
            grants,
            next: vec![Some(never); grants.len()],
        }
    }

    /// The earliest occurrence of one window that ends after an instant no earlier than those before.
    fn ending_after(&mut self, place: usize, ms: i64) -> Option<Occurrence> {
        if self.next[place]?.until <= ms {
            self.next[place] = self.grants[place].when.first_ending_after(ms);
        }
        self.next[place]
    }

    /// How far they stay open from `at` on without a break, looking no further than `enough`. `at` itself when none is
    /// open.
    fn open_until(&mut self, at: i64, enough: i64) -> i64 {
        let mut end = at;
        loop {
            let before = end;
            for place in 0..self.grants.len() {
                if let Some(next) = self.ending_after(place, end)
                    && next.from <= end
                {
                    end = next.until;
                }
            }
            if end == before || end >= enough {
                return end;
            }
        }
    }

    /// When the next one opens, given that none is open at `closed`.
    fn opening_after(&mut self, closed: i64) -> Option<i64> {
        (0..self.grants.len())
            .filter_map(|place| self.ending_after(place, closed))
            .map(|next| next.from.max(closed))
            .min()
    }

    /// The earliest start from which they stay open for so long.
    fn earliest(&mut self, start: i64, room_ms: i64, limit: i64) -> Option<i64> {
        let mut at = start;
        while at <= limit {
            let open_until = self.open_until(at, at + room_ms);
            if open_until >= at + room_ms {
                return Some(at);
            }
            // Where hours end none is open, so the next to end begins later than that.
            at = self.opening_after(open_until)?;
        }
        None
    }
}

/// When the last change window closed, given that none is open at `closed`; a year back if there was none for long.
fn closing_before(grants: &[&Window], closed: i64) -> i64 {
    grants
        .iter()
        .filter_map(|window| window.when.last_ending_by(closed))
        .map(|last| last.until)
        .max()
        .unwrap_or(closed - 366 * DAY_MS)
}

impl Bound<'_> {
    /// The verdict of a blocked start of a scope with these labels of its tier.
    pub(crate) fn verdict(&self, until: Option<i64>, tiers: &[(&str, &str)]) -> Verdict {
        let Some((reason, _)) = self.doubt() else {
            return Verdict::Hold { until };
        };
        let windows = match self {
            Self::Closed { window, .. } => std::slice::from_ref(window),
            Self::Hours { doubtful, .. } => doubtful,
        };
        windows
            .iter()
            .map(|window| window.unknown.verdict(tiers.iter().map(|(_, tier)| *tier)))
            .fold(Verdict::Unknown(reason), Verdict::join)
    }
}

/// Whether the windows of a pack leave no instant to some scope: in two sample fortnights, one in each half of a year,
/// and where change windows are not of every week, in none of their first thousand spans. Answers with the window that
/// closes last. Freezes and dates are exceptions, and close no scope for good.
pub(crate) fn never_open<'g>(windows: &'g [Window], pack: &Pack) -> Option<&'g Window> {
    const SAMPLES_MS: [i64; 2] = [1_767_571_200_000, 1_783_296_000_000];
    let lasting: Vec<&Window> = windows
        .iter()
        .filter(|window| window.kind == WindowKind::Change || window.when.recurs())
        .collect();
    let mut scopes: Vec<_> = lasting.iter().map(|window| &window.selector).collect();
    scopes.push(&pack.scope);
    scopes.sort_unstable();
    scopes.dedup();
    let vocabulary = Vocabulary::of(scopes.iter().copied());
    let index = Index::new(&vocabulary, lasting.iter().map(|window| &window.selector));
    for scope in scopes {
        // A window that selects all of the scope is among those that may meet it.
        let speaking: Vec<_> = index
            .meeting(&vocabulary.look_up(&scope.labels()))
            .map(|(id, _)| lasting[id])
            .filter(|window| scope.within(&window.selector))
            .collect();
        let (hours, closed): (Vec<_>, Vec<_>) = speaking
            .iter()
            .copied()
            .partition(|window| window.kind == WindowKind::Change);
        let mut bounds: Vec<_> = closed
            .iter()
            .map(|window| Bound::Closed {
                window,
                missing: None,
                room_ms: 1,
            })
            .collect();
        if let Some(first) = hours.first() {
            let first = *first;
            bounds.push(Bound::Hours {
                first,
                rollback: first.rollback,
                grants: hours.clone(),
                doubt: None,
                doubtful: Vec::new(),
                room_ms: 1,
            });
        }
        let opens = |from: i64, until: i64| earliest_of_all(&bounds, from, until).is_some_and(|at| at < until);
        if SAMPLES_MS.iter().any(|from| opens(*from, from + 14 * DAY_MS)) {
            continue;
        }
        let opens_at_last = hours.iter().any(|window| {
            let mut at = 0;
            (0..1_000).any(|_| {
                let Some(span) = window.when.first_ending_after(at) else {
                    return false;
                };
                at = span.until;
                opens(span.from, span.until)
            })
        });
        if !opens_at_last {
            return speaking.last().copied();
        }
    }
    None
}
