mod support;
use support::*;
use unattended::upgrade::Wanted;
#[test]
fn probe() {
    let mut case = Case::calm(4, 10);
    case.mode = Wanted::Cold;
    let ended = case.run();
    eprintln!(
        "{:?} {} {:?}",
        ended.outcome,
        ended.summary.elapsed_ms / 60000,
        ended.sim.census()
    );
    for d in &ended.summary.debts {
        eprintln!("{d:?}");
    }
    eprintln!("{:?}", ended.summary.receipt);
    for s in 0..12 {
        for r in [
            "errors=x10@stack=stack-1",
            "late=20m:errors=x10@stack=stack-1",
            "late=60m:errors=x10@zone=zone-2",
        ] {
            let mut case = Case::calm(8, 30).release(r);
            case.seed = s;
            let ended = case.run();
            eprintln!(
                "{s} {r} {:?} {:?} {} | {} ",
                ended.outcome,
                ended.summary.evidence.scope,
                ended.summary.exposed_at_stop.unwrap_or(0),
                ended.summary.evidence.strongest.split("strongest").last().unwrap()
            );
        }
    }
}
