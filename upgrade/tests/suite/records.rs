//! The bytes of records: they come back as they were, and nothing else is believed.
use proptest::prelude::*;
use unattended_upgrade::*;

fn reason() -> impl Strategy<Value = Reason> {
    let step = (0u8..28).prop_map(|number| Step::from_number(number).unwrap());
    prop_oneof![
        "[a-zé]{0,20}".prop_map(|check| Reason::SelfCheckFailed { check: check.into() }),
        Just(Reason::Crashed),
        step.clone().prop_map(|step| Reason::TimedOut { step }),
        (step.clone(), ".{0,30}").prop_map(|(step, reason)| Reason::Refused {
            step,
            reason: reason.into()
        }),
        step.clone().prop_map(|step| Reason::NotTaken { step }),
        step.clone().prop_map(|step| Reason::Unsupported { step }),
        Just(Reason::ForeignVersion),
        Just(Reason::IngressContested),
        step.prop_map(|step| Reason::TooManyRecoveries { step }),
        ".{0,30}".prop_map(|by| Reason::Aborted { by: by.into() }),
        Just(Reason::SessionLost),
        Just(Reason::OldDied),
        ".{0,30}".prop_map(|refusal| Reason::ConfigRefused {
            refusal: refusal.into()
        }),
        any::<u64>().prop_map(|blind_ms| Reason::Unobservable { blind_ms }),
        (0u8..28).prop_map(|number| Reason::TooManyOrders {
            step: Step::from_number(number).unwrap()
        }),
    ]
}

fn terminal() -> impl Strategy<Value = Terminal> {
    let serving = prop_oneof![Just(Serving::Yes), Just(Serving::No), Just(Serving::Unknown)];
    let ingress = prop_oneof![Just(Ingress::Open), Just(Ingress::Closed), Just(Ingress::Unknown)];
    prop_oneof![
        Just(Terminal::Done),
        Just(Terminal::Gone),
        Just(Terminal::Superseded),
        reason().prop_map(|reason| Terminal::RolledBack { reason }),
        reason().prop_map(|reason| Terminal::Rejected { reason }),
        (reason(), serving, ingress).prop_map(|(reason, serving, ingress)| Terminal::NeedsPerson {
            reason,
            serving,
            ingress
        }),
    ]
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![Just(Told::Nothing), Just(Told::Applied), Just(Told::Unsupported)]
}

fn moves() -> impl Strategy<Value = Moves> {
    prop_oneof![
        Just(Moves::default()),
        any::<([u32; 7], u64)>().prop_map(|([moved, declined, cut, lost, p50_us, p99_us, max_us], bytes)| Moves {
            moved,
            declined,
            cut,
            lost,
            bytes,
            pauses: Pauses { p50_us, p99_us, max_us },
        }),
    ]
}

fn counts() -> impl Strategy<Value = Counts> {
    prop_oneof![
        Just(Counts::default()),
        (any::<u64>(), any::<[u32; 3]>(), moves()).prop_map(|(outage_ms, [drained, cut, retries], moves)| Counts {
            outage_ms,
            drained,
            cut,
            retries,
            moves,
        }),
    ]
}

fn record() -> impl Strategy<Value = UpgradeRecord> {
    let counter = || 0..=u64::MAX / 2;
    let attempt = counter().prop_map(AttemptId);
    prop_oneof![
        (any::<u32>(), "[a-z0-9.]{1,20}").prop_map(|(index, version)| UpgradeRecord::Version {
            index,
            version: Version::new(version)
        }),
        (
            attempt.clone(),
            "[a-z/]{1,40}",
            (counter(), any::<u64>()),
            any::<[u32; 2]>(),
            0usize..4,
            any::<bool>(),
            proptest::option::of("[a-z]{1,9}")
        )
            .prop_map(
                |(attempt, target, (generation, at_ms), [from, to], mode, was_healthy, group)| UpgradeRecord::Begun {
                    attempt,
                    target: TargetId::new(target),
                    generation: Generation(generation),
                    mode: Mode::ALL[mode],
                    from,
                    to,
                    at_ms,
                    was_healthy,
                    group: group.map(GroupName::new),
                }
            ),
        ("[a-z/]{1,40}", counter()).prop_map(|(target, generation)| UpgradeRecord::Target {
            target: TargetId::new(target),
            generation: Generation(generation),
        }),
        attempt
            .clone()
            .prop_map(|next_attempt| UpgradeRecord::Numbered { next_attempt }),
        (
            attempt.clone(),
            0u8..28,
            any::<u8>(),
            told(),
            any::<u64>(),
            proptest::option::of(any::<u64>()),
            (counts(), any::<bool>())
        )
            .prop_map(|(attempt, step, ordinal, before, after_ms, left_ms, (counts, out))| {
                UpgradeRecord::Intent {
                    attempt,
                    step: Step::from_number(step).unwrap(),
                    ordinal,
                    before,
                    after_ms,
                    left_ms,
                    so_far: Some(SoFar { counts, out }),
                }
            }),
        (attempt.clone(), reason(), any::<u64>()).prop_map(|(attempt, reason, after_ms)| UpgradeRecord::Backward {
            attempt,
            reason,
            after_ms
        }),
        (attempt.clone(), counter(), any::<u64>()).prop_map(|(attempt, generation, at_ms)| UpgradeRecord::Recovered {
            attempt,
            generation: Generation(generation),
            at_ms,
        }),
        (
            attempt,
            terminal(),
            proptest::option::of(reason()),
            told(),
            any::<u64>(),
            counts()
        )
            .prop_map(
                |(attempt, terminal, went_back, before, after_ms, counts)| UpgradeRecord::Finished {
                    attempt,
                    terminal,
                    went_back,
                    before,
                    after_ms,
                    counts,
                }
            ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(11), ..ProptestConfig::default() })]

    #[test]
    fn a_record_comes_back_and_its_parts_do_not(record in record()) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        prop_assert_eq!(UpgradeRecord::decode(record.kind(), &bytes), Ok(record.clone()));
        for length in 0..bytes.len() {
            prop_assert!(UpgradeRecord::decode(record.kind(), &bytes[..length]).is_err(), "{} bytes", length);
        }
        bytes.push(0);
        let longer = UpgradeRecord::decode(record.kind(), &bytes);
        prop_assert_eq!(longer, Err(RecordError::Long { left_over: 1 }));
    }

    #[test]
    fn any_bytes_give_a_record_or_an_error(kind in 0u8..11, mut bytes in proptest::collection::vec(any::<u8>(), 1..60)) {
        bytes[0] = 1 + bytes[0] % 3;
        if let Ok(record) = UpgradeRecord::decode(kind, &bytes) {
            prop_assert_eq!(record.kind(), kind);
        }
        let group = Group::from_bytes(bytes);
        if let Ok(group) = group {
            let mut describer = Describer::new();
            for record in group.records() {
                if describer.describe(&record).is_err() {
                    break;
                }
            }
        }
    }
}

/// Journals of every version must be read for ever: these bytes never change.
#[test]
fn the_formats_of_an_intent() {
    let mut bytes = Vec::new();
    let intent = |left_ms, so_far| UpgradeRecord::Intent {
        attempt: AttemptId(300_000),
        step: Step::Replacing,
        ordinal: 0,
        before: Told::Applied,
        after_ms: 15_000,
        left_ms,
        so_far,
    };
    intent(Some(300), Some(SoFar::default())).encode(&mut bytes);
    assert_eq!(bytes, [3, 0xe0, 0xa7, 0x12, 4, 0x11, 0, 0x98, 0x75, 0xac, 2]);
    let counts = Counts {
        outage_ms: 200,
        drained: 1,
        cut: 2,
        retries: 3,
        moves: Moves::default(),
    };
    let counted = intent(Some(300), Some(SoFar { counts, out: true }));
    bytes.clear();
    counted.encode(&mut bytes);
    let third = [3, 0xe0, 0xa7, 0x12, 4, 0x71, 0, 0x98, 0x75, 0xac, 2, 0xc8, 1, 1, 2, 3];
    assert_eq!(bytes, third);
    let second = [2, 0xe0, 0xa7, 0x12, 4, 0x11, 0, 0x98, 0x75, 0xac, 2];
    assert_eq!(UpgradeRecord::decode(3, &second), Ok(intent(Some(300), None)));
    let first = [1, 0xe0, 0xa7, 0x12, 0x14, 0, 0x98, 0x75];
    assert_eq!(UpgradeRecord::decode(3, &first), Ok(intent(None, None)));
    // Flags that a format did not have, and moves without the counts that they are among.
    for (format, packed) in [(1, 0x11), (2, 0x31), (2, 0x51), (3, 0x91)] {
        let mut odd = [2, 0xe0, 0xa7, 0x12, 4, packed, 0, 0x98, 0x75, 0xac, 2];
        odd[0] = format;
        assert!(UpgradeRecord::decode(3, &odd).is_err(), "{format} {packed:x}");
    }
    assert_eq!(counted.kind(), 3);
    assert_eq!(
        UpgradeRecord::decode(3, &[4, 0]),
        Err(RecordError::Format { found: Some(4) })
    );
    assert_eq!(UpgradeRecord::decode(9, &[1]), Err(RecordError::Kind { found: 9 }));
}

#[test]
fn the_first_format_of_a_begin_and_an_end() {
    let begun = [1, 7, 2, 9, 3, 0, 1, 1, b'p'];
    let record = UpgradeRecord::decode(2, &begun).unwrap();
    let UpgradeRecord::Begun { mode, was_healthy, .. } = record else {
        panic!("{record:?}");
    };
    assert_eq!((mode, was_healthy), (Mode::Warm, true));
    // There was no hot mode then.
    let begun = [1, 7, 2, 9, 4, 0, 1, 1, b'p'];
    let error = UpgradeRecord::decode(2, &begun).unwrap_err();
    assert!(matches!(error, RecordError::Choice { what: "mode", .. }), "{error}");
    let end = [1, 7, 0x10, 9, 5, 0, 0, 1, 0];
    let record = UpgradeRecord::decode(6, &end).unwrap();
    let UpgradeRecord::Finished { counts, .. } = record else {
        panic!("{record:?}");
    };
    assert_eq!((counts.retries, counts.moves), (1, Moves::default()));
}

#[test]
fn a_history_out_of_order_is_refused() {
    let mut group = Group::new();
    let mut bytes = Vec::new();
    let finished = UpgradeRecord::Recovered {
        attempt: AttemptId(4),
        generation: Generation(2),
        at_ms: 0,
    };
    finished.encode(&mut bytes);
    group.push(Stream::UPGRADE, finished.kind(), &bytes);
    let record = group.records().next().unwrap();
    let error = Describer::new().describe(&record).unwrap_err();
    assert_eq!(error, RecordError::Attempt { attempt: 4 });
}

fn version(index: u32, version: &str) -> UpgradeRecord {
    UpgradeRecord::Version {
        index,
        version: version.into(),
    }
}

/// The versions of [`begun`].
fn versions() -> [UpgradeRecord; 2] {
    [version(0, "1"), version(1, "2")]
}

fn begun(attempt: u64, target: &str, generation: u64) -> UpgradeRecord {
    UpgradeRecord::Begun {
        attempt: AttemptId(attempt),
        target: target.into(),
        generation: Generation(generation),
        mode: Mode::Cold,
        from: 0,
        to: 1,
        at_ms: 0,
        was_healthy: true,
        group: None,
    }
}

fn recovered(attempt: u64, generation: u64) -> UpgradeRecord {
    UpgradeRecord::Recovered {
        attempt: AttemptId(attempt),
        generation: Generation(generation),
        at_ms: 0,
    }
}

fn finished(attempt: u64) -> UpgradeRecord {
    UpgradeRecord::Finished {
        attempt: AttemptId(attempt),
        terminal: Terminal::Done,
        went_back: None,
        before: Told::Nothing,
        after_ms: 0,
        counts: Counts::default(),
    }
}

/// A history whose last record alone may be wrong.
fn last_of(records: &[UpgradeRecord]) -> Result<(), RecordError> {
    let mut group = Group::new();
    for record in versions().iter().chain(records) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        group.push(Stream::UPGRADE, record.kind(), &bytes);
    }
    let mut describer = Describer::new();
    let mut told: Vec<_> = group.records().map(|record| describer.describe(&record)).collect();
    let last = told.pop().unwrap();
    assert!(told.iter().all(Result::is_ok), "{told:?}");
    last.map(drop)
}

#[test]
fn a_generation_that_goes_backwards_is_refused() {
    let error = |attempt, before, found| Err(RecordError::Generation { attempt, before, found });
    let started = [begun(4, "pod-1", 5), recovered(4, 9)];
    for found in [9, 8, 0] {
        let told = last_of(&[&started[..], &[recovered(4, found)]].concat());
        assert_eq!(told, error(4, 9, found));
        // Nor by the next attempt at the target, which another target does not hinder.
        let told = last_of(&[&started[..], &[finished(4), begun(5, "pod-1", found)]].concat());
        assert_eq!(told, error(5, 9, found));
        assert_eq!(
            last_of(&[&started[..], &[begun(5, "pod-2", 1 + found)]].concat()),
            Ok(())
        );
    }
    assert_eq!(
        last_of(&[&started[..], &[finished(4), begun(5, "pod-1", 10)]].concat()),
        Ok(())
    );
    // A snapshot tells the generation of what it leaves out.
    let target = UpgradeRecord::Target {
        target: "pod-1".into(),
        generation: Generation(7),
    };
    assert_eq!(last_of(&[target.clone(), begun(1, "pod-1", 7)]), error(1, 7, 7));
    assert_eq!(last_of(&[target, begun(1, "pod-1", 8)]), Ok(()));
}

#[test]
fn an_attempt_begins_once_and_alone_at_its_target() {
    let numbers = [3, 5, 4, 9, 0];
    let mut records = Vec::new();
    for number in numbers {
        records.extend([begun(number, &format!("pod-{number}"), 1), finished(number)]);
    }
    for number in 0..12 {
        let told = last_of(&[&records[..], &[begun(number, "pod-x", 1)]].concat());
        let again = Err(RecordError::Attempt { attempt: number });
        assert_eq!(told, if numbers.contains(&number) { again } else { Ok(()) }, "{number}");
    }
    let two = [begun(1, "pod-1", 1), begun(2, "pod-1", 2)];
    let error = RecordError::Overlap {
        attempt: 2,
        target: "pod-1".into(),
        open: 1,
    };
    assert_eq!(last_of(&two), Err(error));
}

/// Nothing overflows that counts on from what a journal says.
#[test]
fn a_number_near_its_end_is_refused() {
    let most = u64::MAX / 2;
    let numbered = |attempt| UpgradeRecord::Numbered {
        next_attempt: AttemptId(attempt),
    };
    assert_eq!(last_of(&[begun(most - 1, "pod-1", most)]), Ok(()));
    assert_eq!(last_of(&[numbered(most)]), Ok(()));
    for record in [
        begun(most, "pod-1", 1),
        begun(most + 1, "pod-1", 1),
        begun(1, "pod-1", most + 1),
        numbered(u64::MAX),
    ] {
        assert_eq!(last_of(&[record]), Err(RecordError::Number));
    }
    assert_eq!(
        last_of(&[begun(1, "pod-1", 1), recovered(1, u64::MAX)]),
        Err(RecordError::Number)
    );
}

#[test]
fn a_receipt_is_json_that_comes_back() {
    let receipt = r#"{"attempt":3,"target":"pod-1","generation":2,"mode":"warm","from":"1","to":"2",
        "terminal":{"end":"needs_person","reason":{"why":"timed_out","step":"verifying_old"},"serving":"no","ingress":"closed"},
        "went_back":{"why":"crashed"},"started_ms":1,"finished_ms":2,"outage_ms":1,"drained":0,"cut":0,"retries":0,
        "recoveries":0,"was_healthy":true}"#;
    let receipt: Receipt = serde_json::from_str(receipt).unwrap();
    assert_eq!(receipt.went_back, Some(Reason::Crashed));
    let again: Receipt = serde_json::from_str(&serde_json::to_string(&receipt).unwrap()).unwrap();
    assert_eq!(again, receipt);
}

#[test]
fn a_version_has_one_number_and_a_number_one_version() {
    let error = |index| Err(RecordError::VersionNumber { index });
    assert_eq!(last_of(&[version(2, "3")]), Ok(()));
    assert_eq!(last_of(&[version(2, "1")]), error(2));
    assert_eq!(last_of(&[version(1, "3")]), error(1));
    assert_eq!(last_of(&[version(3, "3")]), error(3));
}

#[test]
fn an_attempt_leads_somewhere_and_turns_back_once_for_all() {
    let mut nowhere = begun(4, "pod-1", 5);
    if let UpgradeRecord::Begun { to, .. } = &mut nowhere {
        *to = 0;
    }
    let error = RecordError::SameVersion {
        attempt: 4,
        version: "1".into(),
    };
    assert_eq!(last_of(&[nowhere]), Err(error));
    let back = UpgradeRecord::Backward {
        attempt: AttemptId(4),
        reason: Reason::Crashed,
        after_ms: 2,
    };
    let intent = |step| UpgradeRecord::Intent {
        attempt: AttemptId(4),
        step,
        ordinal: 1,
        before: Told::Nothing,
        after_ms: 1,
        left_ms: Some(1_000),
        so_far: None,
    };
    for mode in Mode::ALL {
        let mut begun = begun(4, "pod-1", 5);
        if let UpgradeRecord::Begun { mode: of, .. } = &mut begun {
            *of = mode;
        }
        let after = |step| last_of(&[begun.clone(), back.clone(), intent(step)]);
        for step in [
            Step::Closing,
            Step::Spawning,
            Step::Pushing,
            Step::Quiescing,
            Step::Opening,
        ] {
            let error = RecordError::Direction { attempt: 4, step };
            assert_eq!(after(step), Err(error), "{mode}");
        }
        for step in [Step::Restoring, Step::Reopening, Step::Clearing, Step::Reverting] {
            assert_eq!(after(step), Ok(()), "{mode}");
        }
        // The old instance died on the way back, and the new one serves.
        assert_eq!(after(Step::Committing).is_ok(), mode == Mode::Hot, "{mode}");
        assert_eq!(after(Step::Replacing).is_ok(), mode == Mode::Hot, "{mode}");
    }
}
