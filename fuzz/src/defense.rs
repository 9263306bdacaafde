use unattended_defense::audit::{Anchor, Chain, Entry, Log, verify};
use unattended_defense::{Guard, Need, PackErrors, Request, app};

/// Asks a guard everything one can ask. Whatever was loaded, answers come, and agree with each other.
fn ask(guard: &Guard) {
    // Over midnight, over a night in which clocks change, on 29 February, at both ends of the calendar.
    for now in [0, 1_793_577_600_000, 1_792_893_600_000, 1_709_164_800_000, 7_258_118_399_999] {
        for scope in [app("pay").label("business", "payments").label("tier", "gold"), app("pay")] {
            let decision = guard.decide(&Request::pre("c").scope(scope.clone()), now);
            assert_eq!(decision.digest.len(), 64);
            assert!(!decision.why().is_empty());
            let closed = guard.why_not_now(&scope, now);
            assert!(closed.iter().all(|blocker| blocker.from <= now && blocker.until.is_none_or(|until| until > now)));
            assert!(closed.is_empty() || !decision.verdict.may_start(), "what is closed does not start");
            for span in guard.spans(&scope, now, now + 3 * 86_400_000) {
                assert!(span.from < span.until, "half-open and not empty");
            }
            let need = Need {
                batch_ms: 600_000,
                rollback_ms: 300_000,
            };
            let _ = guard.next_feasible(&scope, now, need);
        }
    }
    let _ = guard.test();
}

/// Every fault has words and a remedy.
fn check(errors: &PackErrors) {
    assert!(!errors.is_empty());
    for error in errors {
        assert!(!error.what.is_empty() && !error.fix.is_empty(), "{error}");
    }
}

/// Any bytes as a rule pack.
pub fn pack(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Guard::from_packs([("fuzz.yaml", text), ("holidays.ics", "BEGIN:VCALENDAR\nEND:VCALENDAR\n")]) {
        Ok(guard) => ask(&guard),
        Err(errors) => check(&errors),
    }
}

/// Any bytes as an iCalendar file.
pub fn calendar(data: &[u8]) {
    const PACK: &str = "version: 1\npack: p\nowner: o\nscope: all\nwindows:\n- {id: w, kind: protected, holidays: {calendar: h.ics}, zone: America/Sao_Paulo, reason: r}\n- {id: c, kind: change, holidays: {calendar: h.ics}, zone: Europe/Berlin, reason: r}\n";
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Guard::from_packs([("p.yaml", PACK), ("h.ics", text)]) {
        Ok(guard) => ask(&guard),
        Err(errors) => check(&errors),
    }
}

/// Rules of every kind, to be asked with strange requests.
const RULES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../defense/packs/rules.yaml"));

/// Any bytes as a request.
pub fn request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let request = match Request::from_text("fuzz.yaml", text) {
        Ok(request) => request,
        Err(errors) => return check(&errors),
    };
    let json = serde_json::to_string(&request).expect("a request is plain data");
    let again = Request::from_text("fuzz.json", &json).expect("it reads what it writes");
    let guard = Guard::from_yaml("rules.yaml", RULES).expect("the example is sound");
    for now in [0, 1_795_176_000_000, 7_258_118_399_999] {
        let decision = guard.decide(&request, now);
        assert!(!decision.why().is_empty());
        assert_eq!(decision, guard.decide(&again, now), "the same question, the same answer");
    }
}

/// A chain of three records, and its end, kept elsewhere.
pub fn chain() -> (Vec<u8>, Anchor) {
    let guard = Guard::from_yaml("rules.yaml", RULES).expect("the example is sound");
    let now = 1_795_176_000_000;
    let mut log = Log::begin(Vec::new(), "fuzz", now).expect("a vector takes everything");
    for id in ["a", "b"] {
        let request = Request::pre(id).scope(app("pay"));
        let decision = guard.decide(&request, now);
        log.append(now, &Entry::decision(guard.digest(), &request, now, &decision)).expect("a vector takes everything");
    }
    let anchor = Anchor::of(log.head());
    (log.into_inner(), anchor)
}

/// Any bytes as a chain. Nothing but what was written, and what follows it, is taken for it.
pub fn audit(data: &[u8]) {
    let (written, anchor) = chain();
    let verified = verify(data, std::slice::from_ref(&anchor.head));
    assert!(verified.is_err() || data.starts_with(&written), "a forged chain passes for the anchored one");
    if let Ok(resumed) = Chain::resume(data) {
        let keep = usize::try_from(resumed.keep).expect("no longer than what was read");
        assert!(verify(&data[..keep], &[]).is_ok(), "what is kept is whole");
    }
    if let Ok(line) = std::str::from_utf8(data) {
        let _ = Anchor::parse(line);
    }
}
