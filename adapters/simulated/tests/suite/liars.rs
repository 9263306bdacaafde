//! Platforms that lie, each in one way, in a world with every capability, and the rule by which the suite finds them out.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod platform;
mod show;

use self::platform::Liar;
use crate::support::{config, fleet, id};
use parking_lot::Mutex;
use unattended_simulated::{SimConfig, Simulated, World};
use unattended_upgrade::conformance::{Breach, Subject, platform_holds, platform_suite};

/// Declares the lies, each with the rule that it breaks.
macro_rules! lies {
    ($($lie:ident: $rule:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Lie { None, $($lie,)* }

        const LIES: &[(Lie, &str)] = &[$((Lie::$lie, $rule),)*];
    };
}

lies! {
    // What looks show.
    ReadyWhileStarting: "observe.contradicts",
    RunsWhileStarting: "probe.other",
    ShowsWhatWasOrdered: "replace.instance",
    ShowsManyFromACache: "observe.old-state",
    MixesTargets: "observe.order",
    AnswersOnePageAgainAndAgain: "observe.order",
    UsesInstancesAgain: "observe.old-state",
    InventsAVersion: "observe.version",
    SlotsAreShownOtherwise: "observe.contradicts",
    // Keys and fences.
    ChecksBeforeItWaits: "key.at-once",
    ForgetsKeysWithTime: "key.forgotten",
    RemembersOneKeyOfAll: "key.answer",
    TakesOlderOnes: "key.answer",
    OrdersByOrdinalsAlone: "fence.shut",
    OrdersByAttempts: "fence.wide",
    ForgetsFencesWithAReplacement: "fence.forgets",
    ForgetsFencesWithTime: "fence.forgets",
    KeepsHalfOfAGeneration: "fence.stale",
    FenceGivenAgainShuts: "fence.shut",
    StopsForAnyGeneration: "fence.stale",
    RetiresForAnyGeneration: "fence.stale",
    SwapsOrders: "order.swapped",
    DoesItAgainMuchLater: "ingress.closed",
    LosesTheConfiguration: "config.lost",
    // The way of traffic.
    OneBalancerSendsOn: "ingress.drains",
    OneBalancerComesBack: "ingress.leaks",
    OpensOntoAnything: "ingress.unverified",
    BarrierIsToldAtOnce: "barrier.early",
    BarrierIsNeverTold: "barrier.never",
    BarriersAreMixedUp: "barrier.early",
    BarrierOfOneTooFew: "barrier.count",
    BarrierComesAndGoes: "barrier.back",
    QuietAtOnce: "barrier.quiet",
    // What else is asked.
    ProbesAreMixedUp: "probe.other",
    ProbeOfOneTooFew: "probe.count",
    ProbesSayPassedForEverybody: "probe.other",
    ProbesComeFromACache: "probe.other",
    ProbesFail: "probe.other",
    EndpointOfTheTarget: "endpoint.shared",
    EndpointOfEverybody: "endpoint.shared",
    EndpointMoves: "endpoint.unstable",
    EndpointOfNothing: "endpoint.invented",
    EndpointIsKept: "endpoint.gone",
    ProbesPassWhileStarting: "probe.early",
    WordsAreTakenTwice: "desired.twice",
    OldWordsAreTaken: "desired.stale",
    WordsAreForgottenOverARestart: "durable.word",
    WordsTouchTheLiving: "desired.touched",
    // Slots and hand-overs.
    SpawnDoesNothing: "spawn.not-done",
    SpawnRestartsTheOldOne: "spawn.disturbs",
    SpawnLeadsTrafficThere: "spawn.twice",
    StopDoesNothing: "stop.not-done",
    StopEndsWhateverIsNew: "stop.wrong",
    StopEndsBoth: "stop.disturbs",
    StopAsksForNoTarget: "order.other",
    OldServesAgainAfterTheCommit: "stop.restarts",
    SpawnWaitsForRoom: "observe.version",
    AgentsAreNotAskedWhoTheyAre: "handover.named",
    StopRestartsTheOther: "stop.disturbs",
    ResetDoesNothing: "reset.not-done",
    ResetIsUndoneByALateSpawn: "reset.disturbs",
    OfferDoesNothing: "handover.not-done",
    MigrateDoesNothing: "handover.not-done",
    CommitDoesNothing: "handover.not-done",
    OldStopsBeforeTheNewAccepts: "handover.unguarded",
    OldLeavesBeforeTheCommit: "handover.unguarded",
    NobodyAcceptsForAWhile: "handover.nobody",
    NobodyResumesWhenTheNewOneDies: "handover.lease",
    ReturnKeepsTheNewOne: "handover.not-done",
    LosesConnections: "handover.lost",
    CountsBackwards: "handover.uncounts",
    ConnectionsVanish: "handover.vanished",
    SomeConnectionsVanish: "handover.vanished",
    SpawnsAreForgottenOverARestart: "durable.spawn",
    CommitsAreForgottenOverARestart: "durable.commit",
}

fn tried(lie: Lie) -> Result<(), Breach> {
    let world = World {
        never_ready_share: 0.0,
        in_place_tail_factor: 1.0,
        cold_tail_factor: 1.0,
        ..World::calm()
    };
    let capabilities = SimConfig::default()
        .capabilities
        .with_config()
        .with_slots()
        .with_hand_over();
    let sim = Simulated::new(SimConfig {
        capabilities: capabilities.with_barrier().with_probe().with_endpoint().with_desired(),
        ..config(fleet(2, 2), world, "good")
    })
    .unwrap();
    let subject = Subject::new(["app-0-0", "app-0-1", "app-1-0"].map(id), "old".into(), "new".into());
    let subject = subject.configs(["old".into(), "config-2".into()]).scope("app=app-0");
    // What forgets with time would forget while drawn orders are waited for: none of these few is.
    let (deeds, seed) = if lie == Lie::ForgetsKeysWithTime {
        (8, 16)
    } else {
        (120, 1)
    };
    let subject = subject.times(3_600_000, 300_000, 1_000).drawn(deeds, seed);
    let (clock, executor) = (sim.clock(), sim.executor());
    let liar = Liar {
        sim,
        lie,
        restarted: false,
        state: Mutex::default(),
    };
    let suite = platform_suite(&liar, &clock, &subject, &liar);
    let memory = executor.run(suite).unwrap()?;
    let again = Liar {
        restarted: true,
        ..liar
    };
    executor.run(platform_holds(&again, &clock, &subject, &memory)).unwrap()
}

#[test]
fn an_honest_platform_passes() {
    assert_eq!(tried(Lie::None), Ok(()));
}

#[test]
fn every_liar_is_found_out_by_name() {
    let mut wrong = Vec::new();
    for (lie, rule) in LIES {
        match tried(*lie) {
            Err(breach) if breach.rule == *rule => {}
            other => wrong.push(format!("{lie:?}, wanted {rule}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
