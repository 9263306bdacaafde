use unattended_health::{Burn, Gate, GateVerdict, GoldenRequest, Ledger, SelfCheckReport, Snapshot, import_openslo, read_log};

/// What is taken once is not taken twice, and nothing is taken that cannot be written again.
fn taken(snapshot: &Snapshot) {
    let mut ledger = Ledger::new(1);
    assert!(ledger.take(snapshot).is_ok(), "it was checked when it was read");
    assert!(ledger.take(snapshot).is_err());
    let counters = &snapshot.counters;
    assert!(counters.served() <= counters.total());
    assert!(!snapshot.to_prometheus().is_empty());
    assert_eq!(Snapshot::from_json(&snapshot.to_json()).as_ref(), Ok(snapshot));
    assert_eq!(Snapshot::from_log_line("f", 1, &snapshot.to_log_line()).as_ref(), Ok(snapshot));
}

/// Any bytes as what a sidecar serves: a report of self-checks, a snapshot of counters, or a golden request.
pub fn wire(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match SelfCheckReport::from_json(text) {
        Ok(report) => {
            assert_eq!(SelfCheckReport::from_json(&report.to_json()).as_ref(), Ok(&report));
            match Gate::new(["config"]).evaluate(&report) {
                GateVerdict::Pass { score } => {
                    assert!((0.0..=1.0).contains(&score) && report.finished);
                    assert!(report.results.iter().any(|result| result.id == "config"), "a missing check fails");
                }
                GateVerdict::Pending { .. } => assert!(!report.finished),
                GateVerdict::Fail { reasons } => assert!(!reasons.is_empty()),
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match Snapshot::from_json(text) {
        Ok(snapshot) => taken(&snapshot),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(golden) = serde_json::from_str::<GoldenRequest>(text) {
        let written = serde_json::to_string(&golden).expect("text and numbers");
        assert_eq!(serde_json::from_str::<GoldenRequest>(&written).ok(), Some(golden));
    }
}

/// Any bytes as an error-metrics log.
pub fn error_log(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for read in read_log("fuzz.log", text) {
        match read {
            Ok(snapshot) => taken(&snapshot),
            Err(error) => assert!(error.line >= 1 && !error.field.is_empty() && !error.what.is_empty(), "{error}"),
        }
    }
}

/// Any bytes as OpenSLO documents.
pub fn openslo(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match import_openslo("fuzz.yaml", text) {
        Ok(slos) => {
            assert!(!slos.is_empty());
            let burn = Burn::new(slos).expect("they were checked when they were read");
            assert!(burn.state(1).freeze().is_none(), "nothing was seen");
        }
        Err(errors) => {
            assert!(!errors.errors().is_empty());
            let complete = errors.errors().iter().all(|e| !e.field.is_empty() && !e.what.is_empty() && !e.fix.is_empty());
            assert!(complete, "{errors}");
        }
    }
}
