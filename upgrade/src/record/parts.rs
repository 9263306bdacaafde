//! The parts of records that have shapes of their own.

use super::{RecordError, Told};
use crate::wire::{Reader, put_number, put_text};
use crate::{Counts, Ingress, Mode, Moves, Pauses, Reason, Serving, Step, Terminal};

/// One bit beside the flag of health (bit 1) was enough for two modes; further bits stand above it.
pub(super) const fn mode_number(mode: Mode) -> u8 {
    let number = mode.number();
    number & 1 | (number & !1) << 1
}

pub(super) fn mode(bits: u8, format: u8) -> Result<Mode, RecordError> {
    let known = if format == 1 { &Mode::ALL[..2] } else { &Mode::ALL[..] };
    known
        .iter()
        .copied()
        .find(|mode| mode_number(*mode) == bits)
        .ok_or(RecordError::Choice {
            what: "mode",
            found: bits,
        })
}

pub(super) fn put_counts(out: &mut Vec<u8>, counts: &Counts) {
    put_number(out, counts.outage_ms);
    for count in [counts.drained, counts.cut, counts.retries] {
        put_number(out, count.into());
    }
    if counts.moves != Moves::default() {
        put_moves(out, &counts.moves);
    }
}

pub(super) fn counts(from: &mut Reader<'_>, any_moves: bool) -> Result<Counts, RecordError> {
    Ok(Counts {
        outage_ms: from.number()?,
        drained: from.small()?,
        cut: from.small()?,
        retries: from.small()?,
        moves: if any_moves { moves(from)? } else { Moves::default() },
    })
}

fn put_moves(out: &mut Vec<u8>, moves: &Moves) {
    let Moves {
        moved,
        declined,
        cut,
        lost,
        bytes,
        pauses,
    } = moves;
    for count in [
        moved,
        declined,
        cut,
        lost,
        &pauses.p50_us,
        &pauses.p99_us,
        &pauses.max_us,
    ] {
        put_number(out, (*count).into());
    }
    put_number(out, *bytes);
}

fn moves(from: &mut Reader<'_>) -> Result<Moves, RecordError> {
    Ok(Moves {
        moved: from.small()?,
        declined: from.small()?,
        cut: from.small()?,
        lost: from.small()?,
        pauses: Pauses {
            p50_us: from.small()?,
            p99_us: from.small()?,
            max_us: from.small()?,
        },
        bytes: from.number()?,
    })
}

pub(super) const fn terminal_number(terminal: &Terminal) -> u8 {
    match terminal {
        Terminal::Done => 0,
        Terminal::RolledBack { .. } => 1,
        Terminal::Rejected { .. } => 2,
        Terminal::NeedsPerson { .. } => 3,
        Terminal::Gone => 4,
        Terminal::Superseded => 5,
    }
}

pub(super) fn terminal(number: u8, from: &mut Reader<'_>) -> Result<Terminal, RecordError> {
    Ok(match number {
        0 => Terminal::Done,
        1 => Terminal::RolledBack {
            reason: some_reason(from)?,
        },
        2 => Terminal::Rejected {
            reason: some_reason(from)?,
        },
        3 => {
            let packed = from.byte()?;
            Terminal::NeedsPerson {
                serving: match packed & 0xf {
                    0 => Serving::Yes,
                    1 => Serving::No,
                    2 => Serving::Unknown,
                    found => return Err(RecordError::Choice { what: "serving", found }),
                },
                ingress: match packed >> 4 {
                    0 => Ingress::Open,
                    1 => Ingress::Closed,
                    2 => Ingress::Unknown,
                    found => return Err(RecordError::Choice { what: "ingress", found }),
                },
                reason: some_reason(from)?,
            }
        }
        4 => Terminal::Gone,
        5 => Terminal::Superseded,
        found => return Err(RecordError::Choice { what: "end", found }),
    })
}

pub(super) const fn serving_number(serving: Serving) -> u8 {
    match serving {
        Serving::Yes => 0,
        Serving::No => 1,
        Serving::Unknown => 2,
    }
}

pub(super) const fn ingress_number(ingress: Ingress) -> u8 {
    match ingress {
        Ingress::Open => 0,
        Ingress::Closed => 1,
        Ingress::Unknown => 2,
    }
}

/// The numbers begin at 1: 0 stands for "no reason".
pub(super) fn put_reason(out: &mut Vec<u8>, reason: &Reason) {
    let (number, of, text) = match reason {
        Reason::SelfCheckFailed { check } => (1, None, Some(check)),
        Reason::Crashed => (2, None, None),
        Reason::TimedOut { step } => (3, Some(step), None),
        Reason::Refused { step, reason } => (4, Some(step), Some(reason)),
        Reason::NotTaken { step } => (5, Some(step), None),
        Reason::Unsupported { step } => (6, Some(step), None),
        Reason::ForeignVersion => (7, None, None),
        Reason::IngressContested => (8, None, None),
        Reason::TooManyRecoveries { step } => (9, Some(step), None),
        Reason::Aborted { by } => (10, None, Some(by)),
        Reason::SessionLost => (11, None, None),
        Reason::OldDied => (12, None, None),
        Reason::ConfigRefused { refusal } => (13, None, Some(refusal)),
        Reason::Unobservable { .. } => (14, None, None),
        Reason::TooManyOrders { step } => (15, Some(step), None),
    };
    out.push(number);
    if let Reason::Unobservable { blind_ms } = reason {
        put_number(out, *blind_ms);
    }
    if let Some(step) = of {
        out.push(step.number());
    }
    if let Some(text) = text {
        put_text(out, text);
    }
}

pub(super) fn reason(from: &mut Reader<'_>) -> Result<Option<Reason>, RecordError> {
    Ok(Some(match from.byte()? {
        0 => return Ok(None),
        1 => Reason::SelfCheckFailed { check: from.text()? },
        2 => Reason::Crashed,
        3 => Reason::TimedOut {
            step: step(from.byte()?)?,
        },
        4 => Reason::Refused {
            step: step(from.byte()?)?,
            reason: from.text()?,
        },
        5 => Reason::NotTaken {
            step: step(from.byte()?)?,
        },
        6 => Reason::Unsupported {
            step: step(from.byte()?)?,
        },
        7 => Reason::ForeignVersion,
        8 => Reason::IngressContested,
        9 => Reason::TooManyRecoveries {
            step: step(from.byte()?)?,
        },
        10 => Reason::Aborted { by: from.text()? },
        11 => Reason::SessionLost,
        12 => Reason::OldDied,
        13 => Reason::ConfigRefused { refusal: from.text()? },
        14 => Reason::Unobservable {
            blind_ms: from.number()?,
        },
        15 => Reason::TooManyOrders {
            step: step(from.byte()?)?,
        },
        found => return Err(RecordError::Choice { what: "reason", found }),
    }))
}

pub(super) fn some_reason(from: &mut Reader<'_>) -> Result<Reason, RecordError> {
    reason(from)?.ok_or(RecordError::Choice {
        what: "reason",
        found: 0,
    })
}

pub(super) fn step(number: u8) -> Result<Step, RecordError> {
    Step::from_number(number).ok_or(RecordError::Choice {
        what: "step",
        found: number,
    })
}

pub(super) fn told(number: u8) -> Result<Told, RecordError> {
    Told::ALL.get(usize::from(number)).copied().ok_or(RecordError::Choice {
        what: "outcome",
        found: number,
    })
}
