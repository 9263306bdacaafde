//! Somebody who heals and does not answer: the change hears, sees and goes on meanwhile.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::selfheal::{HealError, HealOrder, Healer, NodeId};
use unattended::upgrade::{Clock, MemoryJournal};
use unattended::{Autopilot, Handle, OnStop};
use unattended_simulated::{SimClock, Simulated};

use crate::support::{Case, HOUR_MS, MINUTE_MS, Pager, Watched, person};

/// When it was asked for first, whether it hangs, and how often it was asked for.
type Asked = (u64, bool, u32);

/// Takes nodes out of traffic, but that it never comes back from some of them.
struct Slow {
    sim: Arc<Simulated>,
    hangs: fn(NodeId) -> bool,
    asked: Mutex<BTreeMap<NodeId, Asked>>,
}

#[async_trait]
impl Healer for Slow {
    async fn isolate(&self, order: &HealOrder, node: NodeId, lease_ms: u64) -> Result<(), HealError> {
        let hangs = (self.hangs)(node);
        let now_ms = self.sim.clock().now();
        self.asked.lock().entry(node).or_insert((now_ms, hangs, 0)).2 += 1;
        if hangs {
            std::future::pending::<()>().await;
        }
        self.sim.isolate(order, node, lease_ms).await
    }

    async fn readmit(&self, order: &HealOrder, node: NodeId) -> Result<(), HealError> {
        self.sim.readmit(order, node).await
    }
}

/// Runs a release that turns out bad late until its traffic is cut, and then beside `other`.
fn cut<F: Future<Output = ()>>(
    hangs: fn(NodeId) -> bool,
    other: impl FnOnce(Handle, SimClock) -> F,
) -> (Arc<Slow>, Arc<Pager>) {
    let mut case = Case::calm(4, 1_400).release("late=118m:errors=x20");
    case.settings.on_stop = OnStop::CutTraffic;
    case.settings.isolation_ms = HOUR_MS;
    let sim = case.simulated();
    let (pager, numbers) = (Arc::new(Pager::default()), Arc::clone(&sim));
    let slow = Arc::new(Slow {
        sim: Arc::clone(&sim),
        hangs,
        asked: Mutex::default(),
    });
    let pilot = Autopilot::builder()
        .platform(Arc::new(Watched::new(Arc::clone(&sim), true)))
        .metrics(Arc::clone(&sim))
        .journal(MemoryJournal::new())
        .clock(sim.clock())
        .rules(case.guard())
        .notifier(Arc::clone(&pager))
        .level(case.level)
        .healer(Arc::clone(&slow), move |target| numbers.node(target));
    let (handle, run) = pilot.build().unwrap().start(case.change()).unwrap();
    let clock = sim.clock();
    let ran = sim.executor().run(async {
        let other = async {
            while handle.summary().is_none_or(|now| now.exposed_at_stop.is_none()) {
                clock.sleep_until(clock.now() + 1_000).await;
            }
            other(handle.clone(), clock.clone()).await;
        };
        futures::pin_mut!(other);
        match futures::future::select(run, other).await {
            futures::future::Either::Left((ended, _)) => Some(ended),
            futures::future::Either::Right(_) => None,
        }
    });
    let ended = ran.unwrap();
    assert!(ended.is_none(), "it ended first: {ended:?}");
    (slow, pager)
}

#[test]
fn a_word_is_heard_while_the_healer_hangs() {
    let (slow, pager) = cut(
        |_| true,
        |handle, clock| async move {
            clock.sleep_until(clock.now() + 5 * MINUTE_MS).await;
            let at_ms = clock.now();
            handle.roll_back(person(), "take it back").unwrap();
            while handle.progress().is_none_or(|now| !now.goes_back) && clock.now() < at_ms + 48 * HOUR_MS {
                clock.sleep_until(clock.now() + 1_000).await;
            }
            let took_ms = clock.now() - at_ms;
            assert!(took_ms <= 5_000, "the way back began {took_ms} ms after the word");
        },
    );
    assert!(slow.asked.lock().len() > 64, "{}", slow.asked.lock().len());
    for pair in pager.pulses().windows(2) {
        let apart_ms = u64::try_from(pair[1].at_unix_ms - pair[0].at_unix_ms).unwrap();
        assert!(apart_ms <= 2 * MINUTE_MS, "{pair:?}");
    }
}

#[test]
fn who_hangs_takes_no_place_of_those_who_answer() {
    let (slow, _) = cut(
        |node| node.0 % 8 != 0,
        |_, clock| async move { clock.sleep_until(clock.now() + 15 * MINUTE_MS).await },
    );
    let asked = slow.asked.lock();
    let (hung, well): (Vec<&Asked>, Vec<&Asked>) = asked.values().partition(|(_, hangs, _)| *hangs);
    // More than are through before the first of them is due again.
    assert!(
        hung.len() > 4 * 64 && well.len() > 32,
        "{} and {}",
        hung.len(),
        well.len()
    );
    // All of them were asked for once as soon as those that hang had been waited for once.
    let first_ms = asked.values().map(|(at_ms, ..)| *at_ms).min().unwrap();
    let rounds = u64::try_from(hung.len().div_ceil(64)).unwrap();
    let last_ms = well.iter().map(|(at_ms, ..)| *at_ms).max().unwrap();
    assert!(
        last_ms <= first_ms + rounds * 30_000,
        "{} ms for {} that hang and {} that do not",
        last_ms - first_ms,
        hung.len(),
        well.len()
    );
    assert!(
        well.iter().all(|(.., times)| *times == 1),
        "what was done is done once: {well:?}"
    );
    assert!(
        hung.iter().all(|(.., times)| *times > 1),
        "who does not answer is asked again"
    );
}
