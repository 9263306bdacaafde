//! How soon a bad node is found, and how often a healthy one is accused: the native rules beside those of others.
//!
//! ```text
//! cargo run --release -p unattended-selfheal --example detection           # times, and false isolations
//! cargo run --release -p unattended-selfheal --example detection -- 200    # with so many runs a cell
//! ```

mod finagle;
mod mosn;
mod world;

use finagle::Finagle;
use mosn::Mosn;
use unattended_selfheal::Policy;
use world::{AsEnvoy, AsGrpc, Native, Rules, World};

const NAMES: [&str; 5] = ["native", "envoy", "grpc a50", "mosn", "finagle"];

fn rules(name: usize, nodes: u32) -> Box<dyn Rules> {
    match name {
        0 => Box::new(Native::new(Policy::default(), nodes)),
        1 => Box::new(AsEnvoy::new(nodes)),
        2 => Box::new(AsGrpc::new(nodes)),
        3 => Box::new(Mosn::new(nodes)),
        _ => Box::new(Finagle::new(nodes)),
    }
}

fn main() {
    let runs: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(20);
    detection(runs);
    calibration(runs);
}

/// Median and 95th percentile of the time to the first action, how many were not found at all, and how many healthy
/// nodes were accused meanwhile. Ten nodes, healthy ones fail 0.1 %; 60 s healthy, then bad for up to 120 s.
fn detection(runs: u64) {
    println!(
        "time from going bad to the first action, median / 95 % in seconds, of {runs} runs; - is not found in 120 s"
    );
    println!("(n: wrong actions in all runs). Ten nodes, 0.1 % failing; caps of the others lifted to 50 %\n");
    print!("{:<22}{:>8}", "bad node", "calls/s");
    NAMES.iter().for_each(|name| print!("{name:>20}"));
    println!();
    let faults = [
        ("fails 100 %", 1.0, 1.0),
        ("fails 50 %", 0.5, 1.0),
        ("fails 20 %", 0.2, 1.0),
        ("fails 5 %", 0.05, 1.0),
        ("5 times slower", 0.001, 5.0),
        ("twice as slow", 0.001, 2.0),
    ];
    for (fault, bad_error, slowdown) in faults {
        for rate in [1.0, 10.0, 1_000.0] {
            print!("{fault:<22}{rate:>8}");
            for (name, _) in NAMES.iter().enumerate() {
                let runs = if rate > 100.0 { runs.div_ceil(4) } else { runs };
                let mut times = Vec::new();
                let mut wrong = 0;
                for seed in 0..runs {
                    let world = World {
                        nodes: 10,
                        rate,
                        error: 0.001,
                        bad_error,
                        slowdown,
                        bad_at_ms: 60_000,
                        until_ms: 180_000,
                        seed,
                    };
                    let found = world.play(&mut *rules(name, world.nodes));
                    wrong += found.wrong;
                    times.push(found.after_ms.unwrap_or(u64::MAX));
                }
                times.sort_unstable();
                let at = |share: f64| {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "a place in a list"
                    )]
                    let place = ((times.len() as f64 * share) as usize).min(times.len() - 1);
                    match times[place] {
                        u64::MAX => "-".to_owned(),
                        ms => format!("{:.2}", ms as f64 / 1_000.0),
                    }
                };
                let wrong = if wrong > 0 {
                    format!(" ({wrong})")
                } else {
                    String::new()
                };
                print!("{:>20}", format!("{} / {}{wrong}", at(0.5), at(0.95)));
            }
            println!();
        }
    }
}

/// False isolations of healthy clusters, with a budget of one per node-hour so that there is something to count.
fn calibration(runs: u64) {
    println!("\nfalse actions per node-hour, all nodes healthy; the native rules are allowed 1");
    println!(
        "{:>8}{:>9}{:>9}{:>12}{:>10}",
        "nodes", "error", "calls/s", "node-hours", "native"
    );
    for nodes in [2_u32, 4, 10, 100, 1_000] {
        for error in [0.001, 0.01, 0.05] {
            for rate in [1.0, 10.0] {
                let policy = Policy {
                    false_isolations_per_node_year: 8_766.0,
                    peak_requests_per_second: rate,
                    ..Policy::default()
                };
                let hours = (runs as f64 / f64::from(nodes)).max(0.2);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "hours")]
                let until_ms = (hours * 3_600_000.0) as u64;
                let world = World {
                    nodes,
                    rate,
                    error,
                    bad_error: error,
                    slowdown: 1.0,
                    bad_at_ms: u64::MAX,
                    until_ms,
                    seed: 7,
                };
                let found = world.play(&mut Native::new(policy, nodes));
                let node_hours = hours * f64::from(nodes);
                println!(
                    "{nodes:>8}{error:>9}{rate:>9}{node_hours:>12.0}{:>10.3}",
                    found.wrong as f64 / node_hours
                );
            }
        }
    }
}
