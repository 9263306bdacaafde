use unattended_health::{Gate, GateVerdict, SelfCheckReport};
use unattended_upgrade::SelfCheck;

/// Longest name of a failure that goes into journals and reports, in characters.
const MAX_NAME: usize = 128;

/// What a [`Platform`](unattended_upgrade::Platform) observes of an instance from the report that the instance serves: the
/// gate's verdict. No report yet, or one that is not finished, is [`SelfCheck::Unreported`]: the attempt's deadline decides
/// how long that may last.
///
/// ```
/// use unattended::health::{Gate, SelfCheckReport};
/// use unattended::upgrade::SelfCheck;
///
/// let gate = Gate::new(["config"]).of_version("1.9.2");
/// assert_eq!(unattended::self_check(&gate, None), SelfCheck::Unreported);
///
/// let served = r#"{"schema":1,"instance":"pod-7","version":"1.9.2","results":[
///     {"id":"config","required":true,"outcome":"timeout"}]}"#;
/// let report = SelfCheckReport::from_json(served)?;
/// assert_eq!(unattended::self_check(&gate, Some(&report)), SelfCheck::Failed { check: "config".into() });
/// # Ok::<(), unattended::health::WireError>(())
/// ```
#[must_use]
pub fn self_check(gate: &Gate, report: Option<&SelfCheckReport>) -> SelfCheck {
    match report.map(|report| gate.evaluate(report)) {
        None | Some(GateVerdict::Pending { .. }) => SelfCheck::Unreported,
        Some(GateVerdict::Pass { .. }) => SelfCheck::Passed,
        Some(GateVerdict::Fail { reasons }) => {
            let name = reasons.first().map_or_else(
                || "self-checks".to_owned(),
                |reason| reason.check().map_or_else(|| reason.to_string(), str::to_owned),
            );
            SelfCheck::Failed {
                check: name.chars().take(MAX_NAME).collect::<String>().into(),
            }
        }
    }
}
