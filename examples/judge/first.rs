//! Which hosts fail first: metrics of hosts beside those of requests.

use unattended::health::FirstFailure;
use unattended_examples_support::{Failure, nearest};

use crate::options::Options;
use crate::table::Table;
use crate::trial::narrow;

/// Bad requests of a host below which none has failed, whatever their share.
const LEAST: u64 = 3;

/// Adds a metric of hosts to the table for each that is asked for.
pub(crate) fn add(options: &Options, table: &mut Table) -> Result<Vec<FirstFailure>, Failure> {
    let wrong = |what: String| Failure::Input(format!("--first-failure: {what}"));
    let known = table.metrics.len();
    let mut failures: Vec<FirstFailure> = Vec::new();
    for (name, share) in &options.first_failure {
        let names = || table.metrics[..known].iter().map(|(name, _)| name.as_str());
        let Some(of) = names().position(|known| known == name) else {
            let fix = nearest(name, names()).map_or_else(
                || format!("the rows have {}", names().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(wrong(format!("no row is of the metric `{name}`: {fix}")));
        };
        let of_hosts = format!("{name}:hosts");
        if table.metrics.iter().any(|(known, _)| *known == of_hosts) {
            return Err(wrong(format!("`{of_hosts}` is there already: leave one out")));
        }
        if table.metrics.len() == 256 {
            return Err(wrong(format!(
                "`{of_hosts}` is the 257th metric: judge at most 256 together"
            )));
        }
        failures.push(FirstFailure {
            of: narrow(of),
            metric: narrow(table.metrics.len()),
            share: *share,
            least: LEAST,
        });
        let class = table.metrics[of].1;
        table.metrics.push((of_hosts, class));
    }
    Ok(failures)
}
