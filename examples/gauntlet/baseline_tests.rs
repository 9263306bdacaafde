//! Who has a turn, who is compared with whom, and what of it counts as reached by the release.

use std::collections::BTreeMap;

use unattended_examples_support::Synthetic;
use unattended_simulated::World;

use super::*;
use crate::scenario::Scenario;

fn calm() -> World {
    World {
        error_rate_low: 1e-3,
        quiet_app_share: 0.0,
        ..World::calm()
    }
}

fn ground(release: &str, world: &World) -> Ground {
    ground_of("600x8", release, world)
}

fn ground_of(fleet: &str, release: &str, world: &World) -> Ground {
    let text = format!(
        r#"{{"schema": 1, "name": "one", "good": [{{"name": "good", "release": "good"}}],
            "bad": [{{"name": "bad", "release": "{release}"}}]}}"#
    );
    let scenario = Scenario::parse(&text, "own.json", world).unwrap();
    Ground::new(&scenario, Synthetic::parse(fleet).unwrap(), 1, world, 11).unwrap()
}

/// Runs something over a fleet that follows a policy's course.
fn over<T>(
    ground: &Ground,
    policy: Policy,
    run: impl AsyncFnOnce(&mut Rollout<'_>, Course) -> Result<T, SourceError>,
) -> T {
    let simulated = ground.simulated(MINUTE_MS, 3 * MINUTE_MS, false).unwrap();
    let course = Course::of(policy, 0.05);
    let recorder = ground.recorded(&simulated, policy.name(), None).unwrap();
    let mut rollout = Rollout::new(ground, &course, recorder);
    simulated.executor().run(run(&mut rollout, course)).unwrap().unwrap()
}

#[test]
fn the_dead_count_for_no_step_and_the_newborn_have_a_turn() {
    let world = World {
        deaths_per_target_day: 6.0,
        ..calm()
    };
    let ground = ground("errors=x2", &world);
    for policy in [Policy::Fixed, Policy::Zscore] {
        over(&ground, policy, async |rollout, _| {
            let clock = rollout.simulated.clock();
            let living = |rollout: &Rollout<'_>| rollout.pods.iter().filter(|pod| pod.alive).count() as u64;
            rollout.follow(|_| true).await?;
            rollout.step(0.2, false).await?;
            assert_eq!(rollout.touched, 120);
            clock.sleep_until(60 * MINUTE_MS).await;
            rollout.news().await?;
            // As many are born as die.
            assert_eq!((rollout.living, living(rollout)), (600, 600));
            assert!(rollout.pods.len() > 700 && rollout.touched < 110, "{}", rollout.touched);
            rollout.step(0.5, false).await?;
            assert_eq!(rollout.touched, 300);
            clock.sleep_until(120 * MINUTE_MS).await;
            rollout.news().await?;
            rollout.step(1.0, false).await?;
            assert_eq!(rollout.touched, 600);
            assert!(rollout.pods.iter().all(|pod| !pod.alive || pod.touched));
            Ok(())
        });
    }
}

#[test]
fn a_canary_is_compared_with_as_many_of_each_kind_that_started_with_it() {
    let ground = ground("errors=x2", &calm());
    over(&ground, Policy::Kayenta, async |rollout, course| {
        rollout.follow(|_| true).await?;
        rollout.step(course.steps[0], course.cohort).await?;
        let clock = rollout.simulated.clock();
        let mut minute = 0;
        while rollout.look_after(clock.now()).await.all > 0 {
            minute += 1;
            clock.sleep_until(minute * MINUTE_MS).await;
        }
        let mut by_stratum: BTreeMap<u32, [u64; 3]> = BTreeMap::new();
        for pod in &rollout.pods {
            let [all, canary, baseline] = by_stratum.entry(pod.stratum).or_default();
            *all += 1;
            *canary += u64::from(pod.touched);
            *baseline += u64::from(pod.ordered.is_some() && !pod.touched);
            assert!(pod.ordered.is_none_or(|ordered| ordered.new == pod.touched));
        }
        // A twentieth of each, rounded, and as many again beside it.
        for [all, canary, baseline] in by_stratum.values() {
            assert!(
                canary == baseline && (canary * 20).abs_diff(*all) < 20,
                "{by_stratum:?}"
            );
        }
        let canaries: u64 = by_stratum.values().map(|[_, canary, _]| canary).sum();
        assert_eq!((rollout.touched, canaries), (30, 30));
        // Both are warm: only the baseline is counted as the old version.
        minute += 5;
        clock.sleep_until(minute * MINUTE_MS).await;
        let interval = rollout.simulated.read(minute - 1, minute * MINUTE_MS).await?;
        assert_eq!(
            (interval.canary_hosts.expected, interval.control_hosts.expected),
            (30, 30)
        );
        // Whoever was only compared gets the release later, and goes back with the others.
        rollout.step(1.0, false).await?;
        assert_eq!(rollout.touched, 600);
        assert!(
            rollout
                .pods
                .iter()
                .all(|pod| pod.ordered.is_some_and(|ordered| ordered.new))
        );
        Ok(())
    });
}

#[test]
fn what_is_only_compared_is_not_taken_back() {
    let ground = ground("errors=x2", &calm());
    over(&ground, Policy::Kayenta, async |rollout, course| {
        rollout.follow(|_| true).await?;
        rollout.step(course.steps[0], course.cohort).await?;
        let (mut minute, clock) = (10, rollout.simulated.clock());
        clock.sleep_until(minute * MINUTE_MS).await;
        rollout.look_after(clock.now()).await;
        rollout.back(&mut minute).await?;
        for pod in rollout.pods.iter().filter(|pod| pod.ordered.is_some()) {
            let generation = pod.ordered.map_or(0, |ordered| ordered.generation);
            assert_eq!(generation, if pod.touched { 2 } else { 1 });
        }
        Ok(())
    });
}

#[test]
fn a_fleet_in_which_nobody_has_its_like_cannot_be_judged() {
    let alone = run(Policy::Kayenta, &ground_of("60x60", "one-way", &calm()), 0.05, None).unwrap();
    assert!(alone.stopped && alone.exposed == 0, "{alone:?}");
}

#[test]
fn a_background_analysis_does_not_wait_for_steps() {
    let world = World {
        in_place_s_median: 200.0,
        in_place_sigma: 0.0,
        in_place_tail_factor: 1.0,
        prefetch_s_low: 1.0,
        prefetch_s_high: 1.0,
        ..calm()
    };
    let ground = ground("late=13m:errors=x50", &world);
    let end = over(&ground, Policy::Argo, async |rollout, course| {
        rollout.drive(course, Policy::Argo, &mut 0).await
    });
    let End::Stopped { at_ms, exposed, .. } = end else {
        panic!("it went through");
    };
    // Each step is ready after four minutes, and ten minutes later comes the next: at 14 and at 28. Measurements are due at 9, 14,
    // 19 and so on, and fail from 19 on.
    assert_eq!((at_ms / MINUTE_MS, exposed), (34, 360));
}

#[test]
fn a_marginal_score_at_the_end_is_a_failure() {
    let mut course = Course::of(Policy::Kayenta, 0.05);
    let share = |bad| Share { bad, total: 1_000 };
    for minute in 0..40 {
        let alike = Pair {
            canary: share(minute % 3 + 1),
            control: share((minute + 1) % 3 + 1),
        };
        let worse = Pair {
            canary: share(minute % 3 + 30),
            ..alike
        };
        // One of three: a score of 66.67, above what is marginal and below what passes.
        let (opinion, _) = course.judge.look(&[worse, alike, alike], &[1.0; METRICS]);
        assert_eq!(opinion, Opinion::Continue);
    }
    assert_eq!(course.judge.finish(), Opinion::Rollback);
}

#[test]
fn a_release_that_is_let_through_does_harm_until_the_horizon() {
    let ground = ground("late=180m:errors=x50", &calm());
    let missed = run(Policy::Argo, &ground, 0.05, None).unwrap();
    let stopped = run(Policy::Fixed, &ground, 0.05, None).unwrap();
    assert!(!missed.stopped && missed.hours < 2.0, "{missed:?}");
    assert!(stopped.stopped && !stopped.before_onset, "{stopped:?}");
    assert!(
        stopped.harm > 0.0 && missed.harm > 50.0 * stopped.harm,
        "{missed:?} {stopped:?}"
    );
}

#[test]
fn a_stop_before_anything_went_wrong_is_told_apart() {
    let never = World {
        never_ready_share: 1.0,
        ..calm()
    };
    for (release, world, before) in [
        ("late=6h:errors=x5", never.clone(), true),
        ("errors=x50", calm(), false),
        ("unready", calm(), false),
    ] {
        let trial = run(Policy::Flagger, &ground(release, &world), 0.05, None).unwrap();
        assert!(trial.stopped, "{trial:?}");
        assert_eq!(trial.before_onset, before, "{trial:?}");
        assert_eq!(trial.harm > 0.0, release == "errors=x50", "{trial:?}");
    }
}

#[test]
fn a_canary_and_its_baseline_have_the_same_traffic() {
    let pair = |canary: (u64, u64), control: (u64, u64)| {
        let share = |(bad, total)| Share { bad, total };
        Pair {
            canary: share(canary),
            control: share(control),
        }
    };
    let none = pair((0, 0), (0, 0));
    // Two applications with one error in ten and in a thousand, of which the two sides serve unequal parts; of a third there is no
    // baseline.
    let parts = [
        [pair((100, 1_000), (10, 100)), none, pair((0, 5), (1, 5))],
        [pair((1, 1_000), (9, 9_000)), none, none],
        [pair((50, 50), (0, 0)), none, none],
    ];
    let equal = with_equal_traffic(parts.as_flattened());
    assert_eq!(equal, [pair((101, 2_000), (101, 2_000)), none, pair((0, 5), (1, 5))]);
}
