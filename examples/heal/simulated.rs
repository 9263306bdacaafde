//! The same on virtual time: one queue of what happens next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use unattended::selfheal::Ending;
use unattended_examples_support::Failure;

use crate::desk::{Desk, Message};
use crate::proxy::Proxy;
use crate::random::Random;
use crate::scenes::{Effect, PERIOD_MS, PROXIES, SERVERS, SERVICE_US, TIME_OUT_MS, Timing, proxy_id};
use crate::score::Log;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// A proxy sends a request.
    Send(usize),
    /// One ends.
    End(usize, usize, bool, u64),
    /// A proxy's period is over.
    Period(usize),
    /// Its report arrives.
    Report(usize, Vec<u8>),
    /// The center ticks.
    Tick,
    /// A bulletin arrives at a proxy.
    Bulletin(usize, Vec<u8>),
    /// The answer to a probe arrives.
    Probed(usize, u64, u32, u32),
    /// Somebody looks.
    Look,
}

struct World {
    random: Random,
    timing: Timing,
    queue: BinaryHeap<Reverse<(u64, u64, Next)>>,
    number: u64,
}

impl World {
    fn at(&mut self, us: u64, next: Next) {
        self.number += 1;
        self.queue.push(Reverse((us, self.number, next)));
    }

    /// One call: whether it is answered well, and when it ends, in microseconds from now.
    fn call(&mut self, proxy: usize, server: usize, now_us: u64) -> (Ending, u64) {
        let (broken, _) = self.timing.at(now_us / 1_000);
        // From 0.7 to 1.5 of the usual, and now and then twice that.
        let spread = 0.7 + 0.8 * self.random.share();
        let tail = if self.random.below(50) == 0 { 2.0 } else { 1.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "some ms"
        )]
        let usual = (SERVICE_US as f64 * spread * tail) as u64 + 200;
        match broken.effect(proxy, server) {
            Effect::Refused => (Ending::ConnectFailure, 150),
            Effect::Lost => (Ending::TimedOut, TIME_OUT_MS * 1_000),
            Effect::Half if self.random.below(2) == 0 => (Ending::ServerError, usual),
            Effect::Slow => (Ending::Answered, usual * 5),
            // Nobody is perfect.
            _ if self.random.below(1_000) == 0 => (Ending::ServerError, usual),
            Effect::Half | Effect::None => (Ending::Answered, usual),
        }
    }

    /// A way through the network.
    fn hop_us(&mut self) -> u64 {
        500 + self.random.next() % 4_000
    }
}

pub(crate) fn run(rps: u32, seed: u64) -> Result<(Log, Desk), Failure> {
    let timing = Timing::of(rps, 20);
    let mut desk = Desk::new(seed)?;
    let mut log = Log::new(timing);
    let mut proxies: Vec<Proxy> = (0..PROXIES)
        .map(|number| Proxy::new(number, seed, rps))
        .collect::<Result<_, _>>()?;
    let mut world = World {
        random: Random::new(seed),
        timing,
        queue: BinaryHeap::new(),
        number: 0,
    };
    let gap_us = 1_000_000 / u64::from(rps);
    for proxy in 0..PROXIES {
        let (first, phase) = (world.random.next() % gap_us, world.random.next() % (PERIOD_MS * 1_000));
        world.at(first, Next::Send(proxy));
        world.at(phase, Next::Period(proxy));
    }
    world.at(0, Next::Tick);
    world.at(0, Next::Look);
    while let Some(Reverse((now_us, _, next))) = world.queue.pop() {
        let now_ms = now_us / 1_000;
        if now_ms >= timing.total_ms() {
            break;
        }
        match next {
            Next::Send(proxy) => {
                let server = proxies[proxy].pick(now_ms);
                let (ending, latency_us) = world.call(proxy, server, now_us);
                let end = Next::End(proxy, server, ending == Ending::Answered, latency_us);
                world.at(now_us + latency_us, end);
                // Within half a gap of the beat.
                let gap = gap_us / 2 + world.random.next() % gap_us.max(1);
                world.at(now_us + gap.max(1), Next::Send(proxy));
            }
            Next::End(proxy, server, answered, latency_us) => {
                let ending = match (answered, latency_us >= TIME_OUT_MS * 1_000) {
                    (true, _) => Ending::Answered,
                    (false, true) => Ending::TimedOut,
                    (false, false) => Ending::ServerError,
                };
                let bad = proxies[proxy].done(server, ending, latency_us, now_ms);
                log.ended(now_ms, proxy, server, bad, !answered);
            }
            Next::Period(proxy) => {
                let bytes = proxies[proxy].period(now_ms)?;
                let hop = world.hop_us();
                world.at(now_us + hop, Next::Report(proxy, bytes));
                world.at(now_us + PERIOD_MS * 1_000, Next::Period(proxy));
            }
            Next::Report(proxy, bytes) => desk.report(proxy_id(proxy), &bytes),
            Next::Tick => {
                for message in desk.tick(now_ms)? {
                    send(&mut world, &proxies, message, now_us);
                }
                world.at(now_us + PERIOD_MS * 1_000, Next::Tick);
            }
            Next::Bulletin(proxy, bytes) => proxies[proxy].hear(&bytes, now_ms)?,
            Next::Probed(proxy, order, good, bad) => desk.probed(proxy_id(proxy), order, good, bad),
            Next::Look => {
                for (number, proxy) in proxies.iter().enumerate() {
                    for server in 0..SERVERS {
                        log.look(
                            now_ms,
                            number,
                            server,
                            proxy.keeps(server, now_ms),
                            proxy.avoids(server, now_ms),
                        );
                    }
                }
                world.at(now_us + 10_000, Next::Look);
            }
        }
    }
    Ok((log, desk))
}

fn send(world: &mut World, proxies: &[Proxy], message: Message, now_us: u64) {
    match message {
        Message::Bulletin(bytes) => {
            for proxy in 0..PROXIES {
                let hop = world.hop_us();
                world.at(now_us + hop, Next::Bulletin(proxy, bytes.clone()));
            }
        }
        Message::Probe {
            order,
            by,
            server,
            calls,
            within_ms,
        } => {
            let Some(proxy) = usize::try_from(by.0).ok().filter(|proxy| *proxy < PROXIES) else {
                return;
            };
            // One after the other; three bad ones are enough.
            let mut at_us = now_us + world.hop_us();
            let began_us = at_us;
            let (mut good, mut bad) = (0, 0);
            while good + bad < calls && bad < 3 && at_us < began_us + within_ms * 1_000 {
                let (ending, latency_us) = world.call(proxy, server, at_us);
                at_us += latency_us;
                if ending == Ending::Answered && !proxies[proxy].is_slow(server, latency_us) {
                    good += 1;
                } else {
                    bad += 1;
                }
            }
            let hop = world.hop_us();
            world.at(at_us + hop, Next::Probed(proxy, order, good, bad));
        }
    }
}
