//! A controller, or a new instance, that stands still in the middle of an upgrade, and goes on.
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustix::process::Signal;
use unattended_process::{OpenError, ProcessPlatform, running};
use unattended_upgrade::{EffectKey, Job, Mode, Step};

use crate::adoption::{Adapter, say};
use crate::conformance::works;
use crate::sidecar::{driver, http, lay_out, target_at, timing};
use crate::support::{run, runs, until, until_so};

const ROUNDS: u64 = 5;

/// Orders of a hot upgrade, each at a step of its own.
const STEPS: u64 = 8;

/// The controller as a process of its own: it upgrades a target again and again, and says each step before its first order.
pub(crate) fn controller(root: &Path, port: u16, rounds: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let platform = ProcessPlatform::open(root, [target_at("a", "1", port)]).await;
        let platform = Arc::new(platform.unwrap());
        until(&platform, "a", "running 1", runs("1")).await;
        say("ready");
        let mut driver = driver(&platform, timing());
        for round in 1..=rounds {
            let (from, to) = (round.to_string(), (round + 1).to_string());
            let job = Job::new("a", from.as_str(), to.as_str(), Mode::Hot);
            driver.submit(job).unwrap();
            let mut last = None;
            while driver.outstanding() > 0 {
                let mut says = |key: &EffectKey| {
                    let step = Step::from_number(key.step).unwrap();
                    if last.replace(step) != Some(step) {
                        say(&format!("step {step}"));
                    }
                    true
                };
                for receipt in driver.turn(&mut says).await.unwrap().finished {
                    say(&format!("ended {:?}", receipt.terminal));
                }
                driver.attend(None).await;
            }
        }
        say("idle");
        std::future::pending::<()>().await;
    });
}

/// Whoever has a connection keeps it, whoever comes is served, nobody else takes the fleet; and what was under way ends well.
#[test]
fn a_controller_that_stands_still_harms_nobody_and_goes_on() {
    run(async |root| {
        lay_out(&root);
        let port = http(&root, "a");
        let mut controller = Adapter::of(&format!("controller {} {port} {ROUNDS}", root.display()));
        controller.until("ready");
        let come = || TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut clients = [(); 4].map(|()| come());
        assert!(clients.iter_mut().all(works));
        let mut drawn = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 1..=ROUNDS {
            drawn ^= drawn << 13;
            drawn ^= drawn >> 7;
            drawn ^= drawn << 17;
            let (steps, mut step) = (1 + drawn % STEPS, String::new());
            for _ in 0..steps {
                step = controller.until_like("step ");
            }
            controller.signal(Signal::STOP);
            // Until they give up, which is longer than the two processes wait for each other.
            let other = ProcessPlatform::open(&root, [target_at("a", "1", port)]).await;
            assert!(matches!(other, Err(OpenError::Held { .. })), "round {round}, {step}");
            assert!(clients.iter_mut().all(works), "round {round}, {step}");
            assert!(works(&mut come()), "round {round}, {step}");
            controller.signal(Signal::CONT);
            assert_eq!(controller.until_like("ended "), "ended Done", "round {round}, {step}");
            assert!(clients.iter_mut().all(works), "round {round}, {step}");
        }
        controller.until("idle");
    });
}

/// The new instance has connections of its own by then, and hears of no return while it stands still. It is asked again when it
/// goes on, and not ended with what it has.
#[test]
fn a_new_instance_that_stands_still_gives_everything_back_in_the_end() {
    run(async |root| {
        lay_out(&root);
        let port = http(&root, "a");
        let mut controller = Adapter::of(&format!("controller {} {port} 1", root.display()));
        controller.until("ready");
        let come = || TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut clients = vec![come(), come()];
        assert!(clients.iter_mut().all(works));
        controller.until("step migrating");
        // The old one accepts nobody any more.
        clients.extend([come(), come()]);
        assert!(clients[2..].iter_mut().all(works));
        let target = "a".into();
        let new = running(&root, &target).unwrap();
        let new = new.iter().find(|process| process.version.as_str() == "2").unwrap();
        assert!(new.signal(Signal::STOP).unwrap());
        controller.until("step returning");
        let log = root.join("t/a/a.log");
        until_so("the old one is told to take everything back", || {
            std::fs::read_to_string(&log).unwrap().contains(" Return of attempt ")
        })
        .await;
        assert!(new.signal(Signal::CONT).unwrap());
        let ended = controller.until_like("ended ");
        assert!(ended.starts_with("ended RolledBack"), "{ended}");
        for (at, client) in clients.iter_mut().enumerate() {
            assert!(works(client), "client {at} has lost its connection");
        }
    });
}
