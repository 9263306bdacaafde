use std::fmt::Write as _;
use std::sync::Arc;

use crate::rng::word;
use crate::text::count;
use crate::{InputError, Inventory, Labels, MAX_TARGETS, State, Target};

const ZONES: usize = 5;
const ZONE_NAMES: [&str; ZONES] = ["zone-1", "zone-2", "zone-3", "zone-4", "zone-5"];
const REGION_OF_ZONE: [&str; ZONES] = ["region-1", "region-1", "region-1", "region-2", "region-2"];
/// Values with their share of the applications in percent.
const STACKS: [(&str, u64); 5] = [("java", 40), ("go", 25), ("node", 15), ("python", 12), ("cpp", 8)];
const BUSINESSES: [(&str, u64); 8] = [
    ("payments", 10),
    ("orders", 15),
    ("search", 15),
    ("catalog", 15),
    ("logistics", 15),
    ("ads", 10),
    ("media", 10),
    ("internal", 10),
];
const TIERS: [(&str, u64); 3] = [("gold", 10), ("silver", 30), ("bronze", 60)];

/// Streams of random words, so that no two attributes of an application hang together.
const STREAM_STACK: u64 = 1;
const STREAM_BUSINESS: u64 = 2;
const STREAM_TIER: u64 = 3;
const STREAM_ZONE: u64 = 4;
const STREAM_TAG: u64 = 5;

/// A made-up fleet: how many pods, in how many applications.
///
/// The sizes follow Zipf and Mandelbrot: what goes beyond one pod for each application is shared in proportion to
/// `1 / (rank + 1)`, rank from 1. Of 3,000 applications the largest has 6.6 % of all pods and most have few. An
/// application has one stack, one business and one tier; its pods take the five zones in turn, zones 1 to 3 in
/// region 1 and zones 4 and 5 in region 2.
///
/// ```
/// use unattended_examples_support::Synthetic;
///
/// let fleet = Synthetic::parse("300000x3000")?;
/// let first = fleet.targets(7).next().ok_or("a fleet is never empty")?;
/// assert_eq!(&*first.app, "app-0001");
/// assert!(first.label("stack").is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synthetic {
    pods: u32,
    apps: u32,
}

impl Synthetic {
    /// `pods` targets in `apps` applications.
    ///
    /// # Errors
    ///
    /// [`InputError::Synthetic`] if either is zero, if there are fewer pods than applications, or more pods than
    /// [`MAX_TARGETS`].
    pub fn new(pods: u32, apps: u32) -> Result<Self, InputError> {
        Self::checked(pods, apps, &format!("{pods}x{apps}"))
    }

    /// Reads the text that stands after `--synthetic`, such as `300000x3000`.
    ///
    /// # Errors
    ///
    /// As [`Synthetic::new`], and for text of any other form.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        let wrong = |why: String, fix: String| InputError::Synthetic {
            given: text.to_owned(),
            why,
            fix,
        };
        let form = || "write PODSxAPPS, such as 300000x3000".to_owned();
        let Some((pods, apps)) = text.split_once('x') else {
            // A different sign between two numbers is the usual slip.
            let numbers: Vec<&str> = text.split(|c: char| !c.is_ascii_digit()).collect();
            let fix = match numbers[..] {
                [pods, apps] if !pods.is_empty() && !apps.is_empty() => format!("write {pods}x{apps}"),
                _ => form(),
            };
            return Err(wrong("there is no `x` between two numbers".to_owned(), fix));
        };
        let number = |part: &str, what: &str| {
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(wrong(format!("`{part}` is no number of {what}"), form()));
            }
            part.parse::<u32>().map_err(|_| {
                wrong(
                    format!("{part} {what} are too many"),
                    format!("at most {MAX_TARGETS} pods can be made"),
                )
            })
        };
        let (pods, apps) = (number(pods, "pods")?, number(apps, "applications")?);
        Self::checked(pods, apps, text)
    }

    fn checked(pods: u32, apps: u32, given: &str) -> Result<Self, InputError> {
        let wrong = |why: String, fix: String| {
            Err(InputError::Synthetic {
                given: given.to_owned(),
                why,
                fix,
            })
        };
        if pods == 0 || apps == 0 {
            let what = if pods == 0 { "pods" } else { "applications" };
            return wrong(
                format!("a fleet of 0 {what} has nothing to change"),
                "write at least 1x1".to_owned(),
            );
        }
        if apps > pods {
            return wrong(
                format!("{apps} applications cannot share {pods} pods"),
                format!("give every application a pod, such as {apps}x{apps}, or swap the two: {apps}x{pods}"),
            );
        }
        if pods > MAX_TARGETS {
            return wrong(
                format!("{pods} pods are too many"),
                format!("at most {MAX_TARGETS} pods can be made"),
            );
        }
        Ok(Self { pods, apps })
    }

    /// How many targets there are.
    #[must_use]
    pub const fn pods(self) -> u32 {
        self.pods
    }

    /// How many applications there are.
    #[must_use]
    pub const fn apps(self) -> u32 {
        self.apps
    }

    /// The targets one after the other, in memory for one application. Equal seeds give equal fleets.
    #[must_use]
    pub fn targets(self, seed: u64) -> SyntheticTargets {
        SyntheticTargets::new(self, seed)
    }

    /// All targets at once.
    #[must_use]
    pub fn inventory(self, seed: u64) -> Inventory {
        let targets: Vec<Target> = self.targets(seed).collect();
        Inventory {
            targets,
            notes: vec![format!(
                "{} synthetic targets of {} applications, from the seed {seed}",
                count(usize::try_from(self.pods).unwrap_or(usize::MAX)),
                count(usize::try_from(self.apps).unwrap_or(usize::MAX)),
            )],
            keys: ["business", "region", "stack", "tier", "zone"]
                .map(str::to_owned)
                .to_vec(),
        }
    }
}

/// The fleet that the examples use when nothing else is given: 5,000 targets of 120 applications, always the same.
#[must_use]
pub fn bundled() -> Inventory {
    let fleet = Synthetic { pods: 5_000, apps: 120 };
    let mut inventory = fleet.inventory(BUNDLED_SEED);
    inventory.notes = vec!["the bundled fleet: 5,000 synthetic targets of 120 applications".to_owned()];
    inventory
}

const BUNDLED_SEED: u64 = 0x0BA7_C4ED;

/// The targets of a [`Synthetic`] fleet, made on demand, application after application, the largest first.
#[derive(Clone, Debug)]
pub struct SyntheticTargets {
    fleet: Synthetic,
    seed: u64,
    /// Sum of all weights, and of those of the applications so far.
    total: u128,
    passed: u128,
    /// Applications begun so far.
    begun: u32,
    left: u32,
    app: App,
    keys: [Arc<str>; 5],
    id: String,
    app_digits: usize,
}

#[derive(Clone, Debug)]
struct App {
    name: Arc<str>,
    tag: u64,
    size: u32,
    next: u32,
    digits: usize,
    zone: usize,
    labels: [Labels; ZONES],
}

impl SyntheticTargets {
    fn new(fleet: Synthetic, seed: u64) -> Self {
        let empty: Labels = Arc::from([]);
        Self {
            fleet,
            seed,
            total: (1..=fleet.apps).map(weight).sum(),
            passed: 0,
            begun: 0,
            left: fleet.pods,
            app: App {
                name: "".into(),
                tag: 0,
                size: 0,
                next: 0,
                digits: 0,
                zone: 0,
                labels: std::array::from_fn(|_| Arc::clone(&empty)),
            },
            keys: ["business", "region", "stack", "tier", "zone"].map(Arc::from),
            id: String::new(),
            app_digits: digits(fleet.apps),
        }
    }

    fn begin_app(&mut self) {
        let before = self.share();
        self.begun += 1;
        self.passed += weight(self.begun);
        let size = 1 + self.share() - before;
        let index = u64::from(self.begun);
        let pick = |stream: u64, from: &[(&'static str, u64)]| -> Arc<str> {
            let mut at = word(self.seed, stream, index) % 100;
            for (value, percent) in from {
                if at < *percent {
                    return Arc::from(*value);
                }
                at -= percent;
            }
            // Unreachable while the percentages sum to 100, which a test holds.
            Arc::from("")
        };
        let stack = pick(STREAM_STACK, &STACKS);
        let business = pick(STREAM_BUSINESS, &BUSINESSES);
        let tier = pick(STREAM_TIER, &TIERS);
        let keys = &self.keys;
        let labels = std::array::from_fn(|zone| {
            let values = [
                &business,
                &Arc::from(REGION_OF_ZONE[zone]),
                &stack,
                &tier,
                &Arc::from(ZONE_NAMES[zone]),
            ]
            .map(Arc::clone);
            keys.iter().cloned().zip(values).collect::<Labels>()
        });
        self.app = App {
            name: format!("app-{:0width$}", self.begun, width = self.app_digits).into(),
            tag: word(self.seed, STREAM_TAG, index) >> 40,
            size,
            next: 0,
            digits: digits(size),
            // Below five, so the conversion cannot fail.
            zone: usize::try_from(word(self.seed, STREAM_ZONE, index) % 5).unwrap_or(0),
            labels,
        };
    }

    /// Pods beyond one for each application, that belong to the applications so far. Differences of this sum up to
    /// exactly what there is, and a difference is off its fair share by less than one pod.
    fn share(&self) -> u32 {
        let extra = u128::from(self.fleet.pods - self.fleet.apps);
        u32::try_from(extra * self.passed / self.total).unwrap_or(u32::MAX)
    }
}

/// The weight of the application of that rank, from 1. Integers, so that every platform makes the same fleet.
fn weight(rank: u32) -> u128 {
    (1_u128 << 48) / (u128::from(rank) + 1)
}

/// Four digits at least, so that ids sort like numbers.
fn digits(most: u32) -> usize {
    most.to_string().len().max(4)
}

impl Iterator for SyntheticTargets {
    type Item = Target;

    fn next(&mut self) -> Option<Target> {
        if self.left == 0 {
            return None;
        }
        if self.app.next == self.app.size {
            self.begin_app();
        }
        self.left -= 1;
        self.app.next += 1;
        let zone = self.app.zone;
        self.app.zone = (zone + 1) % ZONES;
        self.id.clear();
        let app = &self.app;
        // Writing to a string cannot fail.
        let _ = write!(
            self.id,
            "{}-{:06x}-{:0width$}",
            app.name,
            app.tag,
            app.next,
            width = app.digits
        );
        Some(Target {
            id: self.id.as_str().into(),
            app: Arc::clone(&app.name),
            labels: Arc::clone(&app.labels[zone]),
            state: State::Healthy,
            born_s: None,
            died_s: None,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl ExactSizeIterator for SyntheticTargets {}
impl std::iter::FusedIterator for SyntheticTargets {}
