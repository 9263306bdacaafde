//! Targets with real Envoys, and a driver that changes them.
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use unattended_examples_support::{ENVOY_NEW, ENVOY_OLD, Envoys, envoys};
use unattended_process::{Envoy, MonotonicClock, ProcessPlatform, Settings, Target, Template};
use unattended_upgrade::{Clock as _, Driver, DriverConfig, Job, MemoryJournal, Mode, Receipt, Step, Timing};

use crate::load::free_port;

/// The longest that one attempt may take here.
const PATIENCE_MS: u64 = 40_000;

pub(crate) fn binaries() -> &'static Envoys {
    static FOUND: OnceLock<Envoys> = OnceLock::new();
    FOUND.get_or_init(|| envoys().unwrap_or_else(|words| panic!("{words}")))
}

/// Both releases under their own names, and one listener for HTTP.
pub(crate) fn envoy(upstream: u16) -> Envoy {
    let found = binaries();
    Envoy::new()
        .release(ENVOY_OLD, found.old.display().to_string())
        .release(ENVOY_NEW, found.new.display().to_string())
        .http("127.0.0.1:{port}", format!("127.0.0.1:{upstream}"))
        .drain_s(1)
}

/// A target of this name at a port of its own.
pub(crate) fn target(name: &str, envoy: &Envoy) -> (Target, u16) {
    let port = free_port();
    let target = Target::new(name, ENVOY_OLD, Template::envoy(envoy.clone())).parameter("port", port);
    (target, port)
}

pub(crate) fn directory(place: &Path, target: &str) -> PathBuf {
    place.join("t").join(target)
}

pub(crate) async fn open(place: &Path, targets: impl IntoIterator<Item = Target>) -> Arc<ProcessPlatform> {
    let mut settings = Settings::default();
    settings.look_ms = 200;
    Arc::new(ProcessPlatform::open_with(place, targets, settings).await.unwrap())
}

pub(crate) struct Pilot {
    driver: Driver,
}

impl Pilot {
    pub(crate) fn new(platform: &Arc<ProcessPlatform>) -> Self {
        Self::with(platform, &Arc::new(MemoryJournal::new()))
    }

    pub(crate) fn with(platform: &Arc<ProcessPlatform>, journal: &Arc<MemoryJournal>) -> Self {
        let mut timing = Timing::default();
        timing.drain_ms = 3_000;
        timing.prove_ms = 3_000;
        timing.prove_accepts = 3;
        timing.migrate_ms = 3_000;
        timing.return_ms = 3_000;
        timing.warm_probation_ms = 300;
        timing.backoff_ms = 50;
        let config = DriverConfig::new().poll_ms(50).timing(timing);
        let (journal, clock) = (Arc::clone(journal), Arc::new(MonotonicClock));
        Self {
            driver: Driver::new(platform.clone(), journal, clock, config).unwrap(),
        }
    }

    /// Goes on with what the journal has left open.
    pub(crate) async fn resume(&mut self) -> Receipt {
        self.driver.recover().await.unwrap();
        self.drive(&mut |_| true).await.unwrap()
    }

    pub(crate) fn cancel(&mut self, target: &str) {
        self.driver.cancel(&target.into(), "a test");
    }

    pub(crate) async fn go_on(&mut self) -> Receipt {
        self.drive(&mut |_| true).await.unwrap()
    }

    pub(crate) async fn change(&mut self, target: &str, from: &str, to: &str, mode: Mode) -> Receipt {
        self.change_and(target, from, to, mode, |_| true).await.unwrap()
    }

    /// Does something before the first order of each step, and ends without a receipt when that says no.
    pub(crate) async fn change_and(
        &mut self,
        target: &str,
        from: &str,
        to: &str,
        mode: Mode,
        mut before: impl FnMut(Step) -> bool + Send,
    ) -> Option<Receipt> {
        self.driver.submit(Job::new(target, from, to, mode)).unwrap();
        self.drive(&mut before).await
    }

    async fn drive(&mut self, before: &mut (dyn FnMut(Step) -> bool + Send)) -> Option<Receipt> {
        let end = MonotonicClock.now() + PATIENCE_MS;
        let (mut last, mut goes_on) = (None, true);
        loop {
            let mut turn = self
                .driver
                .turn(&mut |key| {
                    let step = Step::from_number(key.step).unwrap();
                    if last.replace(step) != Some(step) {
                        goes_on &= before(step);
                    }
                    goes_on
                })
                .await
                .unwrap();
            if let Some(receipt) = turn.finished.pop() {
                return Some(receipt);
            }
            if !goes_on {
                return None;
            }
            assert!(MonotonicClock.now() < end, "the attempt does not end");
            self.driver.attend(Some(end)).await;
        }
    }
}
