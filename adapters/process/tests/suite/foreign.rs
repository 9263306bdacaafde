//! A program that knows nothing of the adapter, through a template.
use rustix::process::{Pid, Signal, kill_process};
use unattended_process::{Ask, Foreign, ProcessPlatform, Start, Target, Template};
use unattended_upgrade::{EffectOutcome, FleetChange, Phase, Platform as _, TargetId, Version, WayBack};

use crate::programs::{program, target, template};
use crate::support::{key, living, look, pause, run, runs, starts, until, until_so};

#[test]
fn it_is_started_replaced_and_ended() {
    run(async |root| {
        let platform = ProcessPlatform::open(&root, [target(&root, "a", "1")]).await.unwrap();
        let first = until(&platform, "a", "running 1", runs("1")).await;
        let a = TargetId::from("a");
        let outcome = platform.replace(&a, &"2".into(), &key(1, 1)).await;
        assert_eq!(outcome, EffectOutcome::Applied);
        assert_eq!(
            platform.replace(&a, &"2".into(), &key(1, 1)).await,
            EffectOutcome::AlreadyApplied
        );
        let second = until(&platform, "a", "running 2", runs("2")).await;
        assert_ne!(first.instance, second.instance);
        assert_eq!(starts(&root, "a").len(), 2);
        assert!(platform.halt().await.unwrap());
        assert_eq!(living(&root), []);
        assert_eq!(look(&platform, "a").await.phase, Phase::Stopped);
        platform.close().await;
        let platform = ProcessPlatform::open(&root, [target(&root, "a", "1")]).await.unwrap();
        let third = until(&platform, "a", "running 2 again", runs("2")).await;
        assert!(third.instance > second.instance);
        assert!(platform.leave(&a).await.unwrap());
        assert_eq!(look(&platform, "a").await.phase, Phase::Gone);
        until_so("the end of its process", || living(&root).is_empty()).await;
        let refused = platform.replace(&a, &Version::from("2"), &key(2, 1)).await;
        assert!(matches!(refused, EffectOutcome::Failed { .. }), "{refused:?}");
    });
}

#[test]
fn a_version_whose_program_is_gone_has_no_way_back() {
    run(async |root| {
        let at = |version: &str| root.join(format!("program-{version}"));
        for version in ["1", "2"] {
            std::fs::copy("/bin/sleep", at(version)).unwrap();
        }
        let start = Start::new(format!("{}/program-{{version}}", root.display())).arguments(["600"]);
        let template = Template::foreign(Foreign::new(start, Ask::new("unix:{admin}:/ready")));
        let platform = ProcessPlatform::open(root.join("house"), [Target::new("a", "1", template)])
            .await
            .unwrap();
        let ask = async || platform.way_back(&"1".into(), &"2".into()).await.unwrap();
        assert_eq!(ask().await, WayBack::Startable);
        std::fs::remove_file(at("1")).unwrap();
        let WayBack::Closed(why) = ask().await else {
            panic!("it cannot be started any more");
        };
        assert!(
            why.contains("1 cannot be started at a") && why.contains("program-1"),
            "{why}"
        );
        // What is there and may not be run is no better.
        std::fs::write(at("1"), "").unwrap();
        assert!(matches!(ask().await, WayBack::Closed(_)));
        assert!(platform.halt().await.unwrap());
    });
}

/// A hot restart of the program's own: both overlap, the older one goes when the newer one is ready, and not before.
#[test]
fn a_replacement_may_overlap() {
    run(async |root| {
        let template = Template::foreign(program(&root).overlaps(20)).grace_ms(3_000);
        let platform = ProcessPlatform::open(&root, [Target::new("a", "1", template)])
            .await
            .unwrap();
        until(&platform, "a", "running 1", runs("1")).await;
        let a = TargetId::from("a");
        let began = |version: &str, epoch: u32| {
            let of = format!("-{version}-{epoch}-");
            starts(&root, "a").into_iter().find(|name| name.contains(&of))
        };
        platform.replace_in_place(&a, &"2".into(), &key(1, 1)).await;
        until(&platform, "a", "running 2", runs("2")).await;
        assert!(
            began("2", 1).is_some_and(|name| name.ends_with("-twice")),
            "beside nobody"
        );
        until_so("the end of the older one", || living(&root).len() == 1).await;

        // One that never gets ready: the older one goes on.
        platform.replace_in_place(&a, &"unready".into(), &key(1, 2)).await;
        until_so("the start of what is not ready", || began("unready", 2).is_some()).await;
        let shown = until(&platform, "a", "unready", |seen| seen.version == Some("unready".into())).await;
        assert!(!shown.ready);
        assert_eq!(living(&root).len(), 2);
        platform.replace_in_place(&a, &"3".into(), &key(1, 3)).await;
        until(&platform, "a", "running 3", runs("3")).await;
        assert!(began("3", 2).is_some(), "{:?}", starts(&root, "a"));
        until_so("the end of the older one", || living(&root).len() == 1).await;

        // Cold, it stands alone.
        platform.replace(&a, &"4".into(), &key(1, 4)).await;
        until(&platform, "a", "running 4", runs("4")).await;
        assert!(
            began("4", 0).is_some_and(|name| !name.ends_with("-twice")),
            "{:?}",
            starts(&root, "a")
        );
    });
}

/// What is to follow is ordered anew while the older one lingers: that goes by what follows now, not by what was ready before.
#[test]
fn the_older_one_yields_to_what_follows_it_now() {
    run(async |root| {
        let template = Template::foreign(program(&root).overlaps(1_000)).grace_ms(3_000);
        let platform = ProcessPlatform::open(&root, [Target::new("a", "1", template)])
            .await
            .unwrap();
        let first = until(&platform, "a", "running 1", runs("1")).await;
        let oldest = living(&root);
        let a = TargetId::from("a");
        platform.replace_in_place(&a, &"2".into(), &key(1, 1)).await;
        let second = until(&platform, "a", "running 2", runs("2")).await;
        assert_ne!(first.instance, second.instance);
        platform.replace_in_place(&a, &"unready".into(), &key(1, 2)).await;
        // Asked for longer than the older one would have lingered.
        let asked = || {
            let log = std::fs::read_to_string(root.join("t/a/b.log")).unwrap();
            log.matches("/ready 503").count()
        };
        until_so("a patient look at what is not ready", || asked() >= 12).await;
        let live = living(&root);
        assert!(live.contains(&oldest[0]), "{oldest:?} has gone: {live:?}");
    });
}

/// What exits by itself is started again, more and more slowly, and told of; what is ordered after it is not held up.
#[test]
fn illness_is_told_and_a_crash_loop_shows() {
    run(async |root| {
        let platform = ProcessPlatform::open(&root, [target(&root, "a", "1")]).await.unwrap();
        let a = TargetId::from("a");
        let first = until(&platform, "a", "running 1", runs("1")).await;
        let (pid, _) = living(&root)[0];
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        let second = until(&platform, "a", "another one", |seen| {
            runs("1")(seen) && seen.instance != first.instance
        })
        .await;
        assert!(second.instance > first.instance);
        let joined = FleetChange::Joined {
            target: a.clone(),
            app: "pay".into(),
            labels: vec![("zone".into(), "z1".into())],
            version: "1".into(),
        };
        let ill = FleetChange::BecameUnhealthy { target: a.clone() };
        let well = FleetChange::BecameHealthy { target: a.clone() };
        let told = [joined, ill, well];
        loop {
            let news = platform.watch(0).await.unwrap().changes;
            assert_eq!(news, told[..news.len()]);
            if news.len() == told.len() {
                break;
            }
            pause().await;
        }
        platform.replace(&a, &"crash".into(), &key(1, 1)).await;
        until(&platform, "a", "crashing", |seen| {
            seen.phase == Phase::Crashing && !seen.ready
        })
        .await;
        assert!(
            starts(&root, "a")
                .iter()
                .filter(|name| name.contains("-crash-"))
                .count()
                >= 3
        );
        platform.replace(&a, &"2".into(), &key(1, 2)).await;
        until(&platform, "a", "running 2", runs("2")).await;
    });
}

/// Every line of a program is in its log or in one that was cut from it, but for what was thrown away as too old.
#[test]
fn logs_are_cut_and_kept() {
    run(async |root| {
        let template = template(&root).logs(4_000, 3);
        let platform = ProcessPlatform::open(&root, [Target::new("a", "chatty", template)])
            .await
            .unwrap();
        until(&platform, "a", "running", runs("chatty")).await;
        let log = |end: &str| root.join(format!("t/a/a.log{end}"));
        until_so("a log that was cut", || log(".1").exists()).await;
        let long = std::fs::read_to_string(log(".1")).unwrap();
        assert!(long.contains("line 0 of chatty"), "{}", &long[..200]);
        // The same process goes on in the file that was cut.
        look(&platform, "a").await;
        until_so("what it says now", || {
            std::fs::read_to_string(log("")).unwrap().contains("/ready 200")
        })
        .await;
        assert_eq!(starts(&root, "a").len(), 1);
    });
}
