//! Which mode is chosen, and why no gentler one.
use unattended_upgrade::*;

fn able() -> Capabilities {
    Capabilities::none()
        .with_ingress()
        .with_in_place()
        .with_slots()
        .with_hand_over()
}

fn facts() -> Facts {
    Facts::new(able()).memory(10, 20).protocols(1..=3, 3..=4)
}

type Case = (Facts, Mode, &'static [(Mode, Refusal)]);

#[test]
fn the_first_that_can_work_is_chosen_and_the_others_say_why_not() {
    let cases: [Case; 6] = [
        (facts(), Mode::Hot, &[]),
        (facts().memory(10, 10), Mode::Hot, &[]),
        (
            facts().memory(10, 9),
            Mode::Warm,
            &[(Mode::Hot, Refusal::Memory { needed: 10, free: 9 })],
        ),
        (
            facts().protocols(1..=2, 3..=4),
            Mode::Warm,
            &[(
                Mode::Hot,
                Refusal::NoCommonProtocol {
                    old: (1, 2),
                    new: (3, 4),
                },
            )],
        ),
        (Facts::new(able()), Mode::Warm, &[(Mode::Hot, Refusal::MemoryUnknown)]),
        (
            Facts::new(able()).memory(1, 2),
            Mode::Warm,
            &[(Mode::Hot, Refusal::ProtocolUnknown)],
        ),
    ];
    for (facts, mode, refused) in cases {
        let choice = choose_mode(&facts, Wanted::Auto).unwrap();
        assert_eq!((choice.mode, choice.refused.as_slice()), (mode, refused), "{facts:?}");
    }
}

#[test]
fn nobody_is_restarted_against_the_wish() {
    let plain = Facts::new(Capabilities::none());
    let auto = choose_mode(&plain, Wanted::Auto).unwrap();
    assert_eq!(auto.mode, Mode::Cold);
    assert_eq!(
        auto.refused.iter().map(|(mode, _)| *mode).collect::<Vec<_>>(),
        [Mode::Hot, Mode::Warm]
    );
    let error = choose_mode(&plain, Wanted::NotCold).unwrap_err().to_string();
    assert!(
        error.contains("not hot, because") && error.contains("not warm, because"),
        "{error}"
    );
    assert!(error.contains("`cold`"), "it says what to do: {error}");
    for (wanted, mode) in [
        (Wanted::Hot, Mode::Hot),
        (Wanted::Warm, Mode::Warm),
        (Wanted::Cold, Mode::Cold),
    ] {
        assert_eq!(choose_mode(&facts(), wanted).unwrap().mode, mode);
    }
}

/// The configuration is readable upwards only from the second version on.
#[test]
fn a_way_back_that_cannot_work_is_refused_before_the_start() {
    let reads = |config: &u32, _from: &u32, to: &u32| to >= config;
    let all = [Wanted::Auto, Wanted::Hot, Wanted::Warm, Wanted::Cold, Wanted::NotCold];
    let cases = [
        (facts().compatible(&2, &1, &2, reads), Refusal::OldCannotReadConfig),
        (facts().compatible(&3, &1, &2, reads), Refusal::NewCannotReadConfig),
        (facts().old_is_there(false), Refusal::OldIsGone),
    ];
    for (facts, refusal) in cases {
        assert_eq!(facts.against_all(), Some(refusal));
        for wanted in all {
            let error = choose_mode(&facts, wanted).unwrap_err();
            assert!(
                error.refused.iter().all(|(_, found)| *found == refusal),
                "{wanted:?}: {error}"
            );
            assert!(!error.to_string().contains("`cold`"), "cold would not help: {error}");
        }
    }
    assert_eq!(facts().compatible(&1, &1, &2, reads).against_all(), None);
}
