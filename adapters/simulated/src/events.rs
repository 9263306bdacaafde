//! What happens by itself, in the order in which it happens.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::draw::{Draw, Purpose, to_f64};
use crate::population::count;

const MINUTE_MS: u64 = 60_000;
const MINUTES_A_DAY: f64 = 1_440.0;

/// The kinds, in the order in which they happen at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// The instance has warmed up, or has got old enough for a late fault.
    Aged,
    /// The ingress reopens by itself.
    Reopen,
    /// A long outage ends.
    Healed,
    /// Memory is full.
    Killed,
    /// A restart nobody asked for.
    Restart,
    /// The occupant dies.
    Death,
    /// An isolation ends by itself.
    LeaseEnds,
    /// An order to heal comes after all.
    LateOrder,
}

/// Ordered by time, then kind, then place: a total order, so that equal worlds live alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    pub(crate) at_ms: u64,
    pub(crate) what: What,
    pub(crate) slot: u32,
    /// The instance it is about; of no meaning where chance hits the place.
    pub(crate) instance: u32,
}

/// The events that are known to come.
#[derive(Debug, Default)]
pub(crate) struct Events {
    heap: BinaryHeap<Reverse<Event>>,
    /// Minutes whose chance events are in the heap.
    minutes: u64,
}

impl Events {
    pub(crate) fn push(&mut self, event: Event) {
        self.heap.push(Reverse(event));
    }

    /// The next event up to and including `until_ms`.
    pub(crate) fn pop(&mut self, until_ms: u64) -> Option<Event> {
        match self.heap.peek() {
            Some(Reverse(event)) if event.at_ms <= until_ms => self.heap.pop().map(|Reverse(event)| event),
            _ => None,
        }
    }

    /// Draws what chance does to `places` places in every minute that has begun by `now_ms`. A minute is drawn in bulk, from seed
    /// and minute alone: whatever else goes on, the same places are hit at the same times.
    pub(crate) fn draw_until(&mut self, now_ms: u64, seed: u64, places: usize, restarts: f64, deaths: f64) {
        while self.minutes * MINUTE_MS <= now_ms {
            for (what, per_day) in [(What::Restart, restarts), (What::Death, deaths)] {
                let mut draw = Draw::new(seed, Purpose::Natural, &[self.minutes, what as u64]);
                let mean = to_f64(places as u64) * per_day / MINUTES_A_DAY;
                for _ in 0..draw.poisson(mean) {
                    let within = draw.bits() % MINUTE_MS;
                    let slot = count(draw.below(places));
                    self.push(Event {
                        // Never at time 0: the world begins before anything happens in it.
                        at_ms: (self.minutes * MINUTE_MS + within).max(1),
                        what,
                        slot,
                        instance: 0,
                    });
                }
            }
            self.minutes += 1;
        }
    }
}
