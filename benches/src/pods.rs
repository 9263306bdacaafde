use crate::SplitMix64;

const STACKS: [&str; 5] = ["java", "go", "node", "python", "cpp"];
const ZONES: [&str; 5] = ["zone-1", "zone-2", "zone-3", "zone-4", "zone-5"];

/// One target of a made-up fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pod {
    /// Its unique name.
    pub id: String,
    /// Its application.
    pub app: String,
    /// The stack of its application, one of five.
    pub stack: &'static str,
    /// Its zone, one of five.
    pub zone: &'static str,
}

impl Pod {
    /// Its labels as (key, value): `stack` and `zone`.
    #[must_use]
    pub const fn labels(&self) -> [(&'static str, &'static str); 2] {
        [("stack", self.stack), ("zone", self.zone)]
    }
}

/// `count` targets of at most `apps` applications: one each first, then a few large applications and many small ones.
///
/// Of a million targets of 10,000 applications the largest has about half a percent.
pub fn pods(count: u32, apps: u32, seed: u64) -> impl Iterator<Item = Pod> {
    let mut random = SplitMix64::new(seed);
    (0..count).map(move |n| {
        let app = if n < apps {
            n
        } else {
            // A product of three uniform numbers: the first applications are the large ones.
            let most = random.below(apps) + 1;
            let most = random.below(most) + 1;
            random.below(most)
        };
        Pod {
            id: format!("pod-{n:07}"),
            app: format!("app-{app:05}"),
            stack: STACKS[app as usize % STACKS.len()],
            zone: ZONES[random.below(5) as usize],
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::pods;

    #[test]
    fn every_application_has_one_and_few_have_many() {
        let mut sizes = BTreeMap::<String, u32>::new();
        let mut labels = BTreeSet::new();
        for pod in pods(20_000, 500, 7) {
            labels.insert(pod.labels());
            *sizes.entry(pod.app).or_default() += 1;
        }
        assert_eq!(sizes.len(), 500);
        assert_eq!(labels.len(), 25);
        let mut sizes: Vec<u32> = sizes.into_values().collect();
        sizes.sort_unstable();
        assert!(sizes[250] < 20 && sizes[499] > 500, "{} {}", sizes[250], sizes[499]);
    }

    #[test]
    fn one_seed_is_one_fleet() {
        assert!(pods(1_000, 30, 1).eq(pods(1_000, 30, 1)));
        assert!(pods(1_000, 30, 1).ne(pods(1_000, 30, 2)));
    }
}
