//! The report page in a real browser, at the size of a phone and of a desk.
//!
//! Layouts are compared as text: what is seen, in which order, and between which twelfths of the width, so that fonts and
//! pictures may differ. `UNATTENDED_WRITE_GOLDENS=1 cargo test -p unattended --test program browser` writes them anew; look at
//! the page before you keep them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure of a helper is a failed test"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::desk::Desk;

/// Names of the browser, in the order in which they are looked for.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// The browser: named by `UNATTENDED_CHROMIUM`, or the first of [`NAMES`] that is in the path.
fn chromium() -> PathBuf {
    if let Some(named) = std::env::var_os("UNATTENDED_CHROMIUM") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    (NAMES.iter())
        .flat_map(|name| places.iter().map(move |place| place.join(name)))
        .find(|file| file.is_file())
        .expect("no Chromium: install it (Debian: `apt-get install chromium`), or name one in UNATTENDED_CHROMIUM")
}

/// What the browser makes of a page, and of these searches in it.
fn looked_at(desk: &Desk, page: &str, searches: &[(&str, &str)]) -> Value {
    // A `<` in it could end the element it stands in.
    let quoted = |value: Value| value.to_string().replace('<', "\\u003c");
    let around = format!(
        "<!doctype html><meta charset=utf-8><body><script type=\"application/json\" id=page>{}</script>\
         <script type=\"application/json\" id=wanted>{}</script><pre id=found></pre><script>{}</script>",
        quoted(Value::from(page)),
        quoted(serde_json::json!(searches)),
        include_str!("browser/measure.js")
    );
    desk.file("around.html", around);
    let output = Command::new(chromium())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"])
        .args(["--disable-dev-shm-usage", "--disable-background-networking", "--window-size=1400,1000"])
        // Its own time, which passes as fast as it has nothing to do; frames are drawn in it.
        .args(["--virtual-time-budget=60000", "--run-all-compositor-stages-before-draw", "--dump-dom"])
        .arg(format!("--user-data-dir={}", desk.path("profile").display()))
        .arg(format!("file://{}", desk.path("around.html").display()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let found = (dom.split("<pre id=\"found\">").nth(1))
        .and_then(|rest| rest.split("</pre>").next())
        .filter(|found| !found.is_empty())
        .unwrap_or_else(|| panic!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    let text = found
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&nbsp;", "\u{a0}");
    let value: Value = serde_json::from_str(&text.replace("&amp;", "&")).unwrap();
    assert_eq!(value["error"], Value::Null, "{value:#}");
    value
}

/// Nothing beyond an edge, over another, or too small.
#[track_caller]
fn sound(of: &Value, told: &str) {
    assert_eq!(of["faults"], serde_json::json!([]), "{told}");
}

#[track_caller]
fn golden(name: &str, lines: &Value) {
    let found: Vec<&str> = lines
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    let found = format!("{}\n", found.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/program/browser")
        .join(name);
    if std::env::var_os("UNATTENDED_WRITE_GOLDENS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap();
    for (number, (found, wanted)) in found.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(found, wanted, "{name}:{}", number + 1);
    }
    assert_eq!(found.lines().count(), wanted.lines().count(), "{name}: not as long");
}

/// The page that a run leaves behind.
fn page_of(desk: &Desk, arguments: &[&str]) -> String {
    let said = desk.run(&[&["--synthetic", "300x6", "--report", "page.html"], arguments].concat());
    assert!(matches!(said.code, Some(0 | 1 | 3)), "{said:?}");
    String::from_utf8(desk.read("page.html")).unwrap()
}

fn shown(of: &Value) -> Vec<&str> {
    of["shown"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap())
        .collect()
}

#[test]
fn a_release_that_went_well_is_laid_out_as_ever() {
    laid_out("good", &[]);
}

#[test]
fn a_release_that_was_taken_back_is_laid_out_as_ever() {
    laid_out("bad", &["--release", "errors=x10"]);
}

#[test]
fn a_release_that_waits_for_a_person_is_laid_out_as_ever() {
    laid_out(
        "waiting",
        &["--release", "errors=x10", "--level", "3", "--operator", "none"],
    );
}

fn laid_out(name: &str, arguments: &[&str]) {
    let desk = Desk::new();
    let found = looked_at(&desk, &page_of(&desk, arguments), &[]);
    for (size, height) in [("phone", 844), ("desktop", 900)] {
        let one = &found[size];
        let told = format!("{name}, {size}");
        sound(one, &told);
        assert!(one["texts"].as_u64().unwrap() > 80, "{told}: hardly anything is seen");
        // State, question, exposure, reason, and the command that stops it, before anybody scrolls.
        assert!(
            one["first_screen_ends"].as_u64().unwrap() <= height,
            "{told}: {}",
            one["first_screen_ends"]
        );
        golden(&format!("{name}-{size}.txt"), &one["lines"]);
    }
}

#[test]
fn decisions_are_found_by_words_and_kind_and_all_are_there_without_a_script() {
    let desk = Desk::new();
    let page = page_of(&desk, &[]);
    let searches = [
        ("goes on to batch", ""),
        ("", "class"),
        ("goes on", "lane"),
        ("GROW  zone-5", ""),
        ("no such word", ""),
        ("", ""),
    ];
    let found = looked_at(&desk, &page, &searches);
    for size in ["phone", "desktop"] {
        let one = &found[size];
        assert_eq!(
            one["focusable"],
            serde_json::json!([true, true]),
            "{size}: keys must reach it, and it has a name"
        );
        let [words, kind, both, several, none, all] = [0, 1, 2, 3, 4, 5].map(|nth| &one["searches"][nth]);
        let in_all = words["all"].as_u64().unwrap();
        assert!(in_all > 50, "{size}: too few decisions to have any folded: {in_all}");
        let is = |search: &Value, fits: &dyn Fn(&str) -> bool| {
            sound(search, size);
            let shown = shown(search);
            assert!(
                !shown.is_empty() && shown.len() < usize::try_from(in_all).unwrap(),
                "{size}: {search:#}"
            );
            assert_eq!(search["told"], format!("{} of {in_all}", shown.len()), "{size}");
            assert_eq!(search["earlier_open"], true, "{size}: what is folded is searched too");
            assert!(shown.iter().all(|one| fits(one)), "{size}: {search:#}");
            shown.len()
        };
        let of_words = is(words, &|one| one.contains("goes on to batch"));
        is(kind, &|one| one.starts_with("class."));
        assert_eq!(is(both, &|one| one.starts_with("lane.")), of_words, "{size}");
        is(several, &|one| one.contains("zone-5") && one.contains("grow"));
        assert!(
            shown(none).is_empty() && none["told"] == format!("0 of {in_all}"),
            "{size}: {none:#}"
        );
        for after in [all, &one["escaped"]] {
            sound(after, size);
            assert_eq!(
                (&after["told"], &after["earlier_open"]),
                (&Value::from(""), &Value::from(false)),
                "{size}"
            );
            assert_eq!(shown(after).len(), 12, "{size}: the last ones, as before");
        }
        let bare = &one["bare"];
        sound(bare, size);
        assert_eq!(
            (&bare["form_seen"], &bare["listed"]),
            (&Value::from(false), &Value::from(in_all)),
            "{size}"
        );
    }
}

#[test]
fn the_page_of_a_shadow_can_be_read_at_every_size() {
    let desk = Desk::new();
    // One that would have been stopped, and one with many spans in which the two differ.
    for (release, code) in [("crash", 1), ("good", 0)] {
        let run = [
            "--synthetic",
            "300x6",
            "--release",
            release,
            "--json",
            "--record",
            "run.jsonl",
        ];
        let said = desk.run(&run);
        assert_eq!(said.code, Some(code), "{said:?}");
        let said = desk.example("shadow", &["run.jsonl", "--html", "page.html"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        let page = String::from_utf8(desk.read("page.html")).unwrap();
        assert!(!page.contains("Nowhere."), "{release}: they differ in nothing");
        let found = looked_at(&desk, &page, &[]);
        for size in ["phone", "desktop"] {
            sound(&found[size], &format!("{release}, {size}"));
        }
        std::fs::remove_file(desk.path("run.jsonl")).unwrap();
    }
}
