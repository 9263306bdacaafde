//! The table of pitfalls names tests that there are.

use std::fs;
use std::path::Path;

/// Where the tests of each first word are.
const PLACES: [(&str, &str); 6] = [
    ("explore", "src"),
    ("sidecar", "../examples/sidecar/tests/suite"),
    ("process", "../adapters/process/tests/suite"),
    ("envoy", "../adapters/process/tests/envoy"),
    ("upgrade", "../upgrade/tests/suite"),
    ("", "tests/suite"),
];

#[test]
fn every_test_that_is_named_is_there() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(here.join("src/pitfalls.rs")).unwrap();
    let names = table.split('`').skip(1).step_by(2).filter(|name| name.contains("::"));
    let mut known = 0;
    for name in names {
        let (first, rest) = name.split_once("::").unwrap();
        let place = PLACES.iter().find(|(word, _)| *word == first);
        let (path, rest) = match place {
            Some((_, path)) if *path == "src" => (*path, name),
            Some((_, path)) => (*path, rest),
            None => ("tests/suite", name),
        };
        let directory = here.join(path);
        if !directory.is_dir() {
            // The crate alone, without the others of its workspace.
            continue;
        }
        let (module, test) = rest.split_once("::").unwrap();
        let text = fs::read_to_string(directory.join(format!("{module}.rs"))).unwrap();
        assert!(text.contains(&format!("fn {test}(")), "{name}");
        known += 1;
    }
    assert!(known > 20, "{known}");
    let missing = (1..=25).find(|number| !table.contains(&format!("| P{number} |")));
    assert_eq!(missing, None);
}
