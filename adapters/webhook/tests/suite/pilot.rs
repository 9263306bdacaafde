//! A whole change that asks, told over HTTP.

use std::sync::Arc;

use async_trait::async_trait;
use unattended::batching::{Fleet, Policy, pct};
use unattended::defense::Guard;
use unattended::upgrade::{Clock as _, MemoryJournal};
use unattended::{Actor, Autopilot, Change, Level, Notice, Notifier, Outcome, Pulse, Settings};
use unattended_simulated::{InitialState, ReleaseSpec, SimConfig, SimTarget, Simulated, World};
use unattended_webhook::Webhook;

use crate::server::{Answer, Server};

/// Sends while the clock of the simulated world stands still: the wire is real, the world is not.
struct RealTime(Webhook, tokio::runtime::Handle);

#[async_trait]
impl Notifier for RealTime {
    async fn notify(&self, notice: &Notice) {
        self.1.block_on(self.0.notify(notice));
    }

    async fn pulse(&self, pulse: &Pulse) {
        self.1.block_on(self.0.pulse(pulse));
    }
}

#[test]
fn a_change_tells_its_story() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(Server::start([Answer::Status(503, "")]));
    let label = |key: &str, value: String| (key.to_owned(), value);
    let targets: Vec<SimTarget> = (0..120)
        .map(|i| SimTarget {
            id: format!("app-{}-{}", i / 30, i % 30),
            app: format!("app-{}", i / 30),
            labels: vec![label("zone", format!("zone-{}", i % 3))],
            state: InitialState::Healthy,
        })
        .collect();
    let mut fleet = Fleet::builder();
    for target in &targets {
        let labels = target.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        fleet.push(&target.id, &target.app, labels, true).unwrap();
    }
    let sim = Simulated::new(SimConfig {
        world: World {
            requests_per_s_median: 50.0,
            error_rate_low: 1e-3,
            ..World::calm()
        },
        targets,
        old: "mesh-1".into(),
        new: "mesh-2".into(),
        release: ReleaseSpec::parse("errors=x10").unwrap(),
        seed: 7,
        start_wall_ms: 1_795_420_800_000,
        ..SimConfig::default()
    })
    .unwrap();
    let webhook = Webhook::new(&server.url("/notices"))
        .unwrap()
        .retry_ms(1)
        .answer_ms(60_000)
        .patience_ms(600_000);
    let webhook = webhook.heartbeat(&server.url("/alive")).unwrap();
    let pilot = Autopilot::builder()
        .platform(Arc::clone(&sim))
        .metrics(Arc::clone(&sim))
        .journal(MemoryJournal::new())
        .clock(sim.clock())
        .rules(Guard::empty())
        .notifier(RealTime(webhook, runtime.handle().clone()))
        .level(Level::L3)
        .build()
        .unwrap();
    let mut settings = Settings::default();
    settings.soak_ms = 1_800_000;
    settings.bake_ms = 300_000;
    let change = Change::new(
        "mesh-2",
        Actor::person("li", "MESH-192"),
        "mesh-1".into(),
        "mesh-2".into(),
        Arc::new(fleet.build().unwrap()),
    )
    .policy(Policy::new().per_app(pct(25)).spread(["zone"]))
    .settings(settings);
    let (handle, run) = pilot.start(change).unwrap();
    let clock = sim.clock();
    let outcome = sim.executor().run(async {
        let answer = async {
            loop {
                clock.sleep_until(clock.now() + 60_000).await;
                if handle.notices().iter().any(|notice| notice.question.is_some()) {
                    let _ = handle.approve(Actor::person("li", "pager"), "yes");
                }
            }
        };
        let (run, answer) = (std::pin::pin!(run), std::pin::pin!(answer));
        match futures::future::select(run, answer).await {
            futures::future::Either::Left((outcome, _)) => outcome,
            futures::future::Either::Right(((), _)) => unreachable!("whoever answers does so for ever"),
        }
    });
    assert_eq!(outcome.unwrap().unwrap(), Outcome::RolledBack);

    let received = server.received();
    let mut keys: Vec<&str> = Vec::new();
    let story: Vec<(String, String)> = (received.iter())
        .filter(|request| request.path == "/notices")
        .filter(|request| {
            let key = request.headers["idempotency-key"].as_str();
            let new = !keys.contains(&key);
            keys.push(key);
            new
        })
        .map(|request| {
            let notice: Notice = serde_json::from_value(request.body.clone()).unwrap();
            (notice.code.clone(), notice.stage.as_str().to_owned())
        })
        .collect();
    let mut story: Vec<(&str, &str)> = story.iter().map(|(code, stage)| (&**code, &**stage)).collect();
    // What belongs to one moment is sent at once.
    story[1..].sort_unstable();
    assert_eq!(
        story,
        [
            ("person.asked", "raised"),
            ("change.ended", "raised"),
            ("person.asked", "resolved"),
            ("rollback.began", "raised"),
            ("rollback.began", "resolved"),
        ]
    );
    let alive: Vec<Pulse> = (received.iter())
        .filter(|request| request.path == "/alive")
        .map(|request| serde_json::from_value(request.body.clone()).unwrap())
        .collect();
    assert!(alive.len() > 5, "{}", alive.len());
    assert_eq!(alive.last().map(|pulse| pulse.next_within_ms), Some(0));
}
