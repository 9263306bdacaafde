//! Work that may only start inside of windows.

use super::Interval;

/// Something done one after the other: `turns` that take `each_ms`, and a last one of `last_ms`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) turns: u64,
    pub(super) each_ms: u64,
    pub(super) last_ms: u64,
    /// What a window must have left when a turn starts.
    pub(super) room_ms: u64,
}

/// When work began and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) began_ms: u64,
    pub(super) ended_ms: u64,
    /// The closed span that cost most, if any did.
    pub(super) gap: Option<Interval>,
}

impl Work {
    pub(super) const fn length_ms(self) -> u64 {
        self.turns * self.each_ms + self.last_ms
    }

    /// Does the work from `from_ms` on, in `open` windows (sorted, apart) if there are any. `None` if they end before it does.
    pub(super) fn from(self, from_ms: u64, open: Option<&[Interval]>) -> Option<Done> {
        let Some(open) = open else {
            return Some(Done {
                began_ms: from_ms,
                ended_ms: from_ms + self.length_ms(),
                gap: None,
            });
        };
        let mut left = self.turns + 1;
        let (mut began, mut at) = (None, from_ms);
        let mut gap: Option<Interval> = None;
        let first = open.partition_point(|window| window.until_ms <= from_ms);
        for window in &open[first..] {
            let start = at.max(window.from_ms);
            // Starts at `start`, `start + each`, … as long as there is room.
            let Some(slack) = window.until_ms.checked_sub(start + self.room_ms) else {
                continue;
            };
            let closed = Interval {
                from_ms: at,
                until_ms: start,
            };
            if start > at && gap.is_none_or(|gap| start - at > gap.until_ms - gap.from_ms) {
                gap = Some(closed);
            }
            began = began.or(Some(start));
            let starts = (slack / self.each_ms.max(1) + 1).min(left);
            left -= starts;
            if left == 0 {
                return Some(Done {
                    began_ms: began.unwrap_or(start),
                    ended_ms: start + (starts - 1) * self.each_ms + self.last_ms,
                    gap,
                });
            }
            at = start + starts * self.each_ms;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Done, Interval, Work};

    const fn span(from_ms: u64, until_ms: u64) -> Interval {
        Interval { from_ms, until_ms }
    }

    const WORK: Work = Work {
        turns: 2,
        each_ms: 10,
        last_ms: 15,
        room_ms: 20,
    };

    #[test]
    fn without_windows() {
        let done = WORK.from(100, None).unwrap();
        assert_eq!((done.began_ms, done.ended_ms, done.gap), (100, 135, None));
    }

    #[test]
    fn every_turn_starts_where_there_is_room() {
        let windows = |open: &[Interval]| WORK.from(100, Some(open));
        // Room for all three.
        assert_eq!(windows(&[span(0, 140)]).unwrap().ended_ms, 135);
        // One moment less: the third waits for the next window.
        let done = windows(&[span(0, 139), span(300, 400)]).unwrap();
        assert_eq!(
            done,
            Done {
                began_ms: 100,
                ended_ms: 315,
                gap: Some(span(120, 300))
            }
        );
        // A window too short for any turn is as good as closed.
        let done = windows(&[span(0, 119), span(200, 219), span(500, 900)]).unwrap();
        assert_eq!(
            (done.began_ms, done.ended_ms, done.gap),
            (500, 535, Some(span(100, 500)))
        );
        // It ends too early, or there is none.
        assert_eq!(windows(&[span(0, 139)]), None);
        assert_eq!(windows(&[]), None);
    }
}
