//! Files as such: missing, empty, not text, and options that do not fit.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use unattended_examples_support::{InputError, Mapping, Source, load, read};

fn file(path: PathBuf) -> Source {
    Source::File {
        path,
        map: None,
        container: None,
    }
}

#[test]
fn files_are_read_and_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("fleet.csv");
    fs::write(&path, "id,app\n1,a\n").expect("written");
    assert_eq!(load(&file(path)).expect("well formed").targets.len(), 1);

    let missing = directory.path().join("flet.csv");
    let error = load(&file(missing.clone())).expect_err("missing").to_string();
    assert!(
        error.starts_with(&format!("{}: cannot be read: ", missing.display())),
        "{error}"
    );
    assert!(
        error.ends_with("check the spelling and the directory; `-` stands for standard input"),
        "{error}"
    );

    let error = load(&file(directory.path().to_owned()))
        .expect_err("a directory")
        .to_string();
    assert!(error.ends_with("name a file in it"), "{error}");
}

fn refused(bytes: &[u8]) -> String {
    read("f", bytes, None, None).expect_err("must be refused").to_string()
}

#[test]
fn empty_and_binary_files_are_told_apart() {
    for blank in ["", " \n\t\r\n", "\u{feff}"] {
        assert!(
            refused(blank.as_bytes()).starts_with("f: is empty: give a CSV"),
            "{blank:?}"
        );
    }
    assert!(refused(&[b' '; 70_000]).starts_with("f: begins with nothing but blanks: remove"));
    assert!(refused(b"id,app\n1,a\0b\n").starts_with("f:2: contains a NUL byte, so this is no text in UTF-8"));
    assert!(refused(b"\x1f\x8b\x08\x00").contains("f:1: contains a NUL byte"));
    assert!(refused(b"id,app\n1,a\n2,\xE9t\xE9\n").starts_with("f:3: contains a byte that is not UTF-8"));
    // Past what is looked at to tell the format, each reader must notice by itself.
    let rows: String = (0..20_000).map(|row| format!("{row},a\n")).collect();
    let csv = [b"id,app\n", rows.as_bytes(), b"x,\xE9\n"].concat();
    assert!(refused(&csv).starts_with("f:20002: contains a byte that is not UTF-8"));
    let csv = [b"id,app\n", rows.as_bytes(), b"x,\0\n"].concat();
    assert!(refused(&csv).starts_with("f:20002: contains a NUL byte"));
    let lines: String = (0..20_000)
        .map(|row| format!("{{\"id\":{row},\"app\":\"a\"}}\n"))
        .collect();
    let json = [lines.as_bytes(), b"{\"id\":\"\xE9\"}\n"].concat();
    assert!(refused(&json).starts_with("f:20001: contains a byte that is not UTF-8"));
}

#[test]
fn a_read_that_fails_says_so_in_any_format() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    for start in [
        "",
        "id,app\n1,a\n",
        "{\"id\":1,\"app\":\"a\"}\n",
        "{\"kind\":\"List\",\"items\":[",
    ] {
        for filler in [0_u64, 100_000] {
            if start.is_empty() && filler > 0 {
                continue;
            }
            let reader = start.as_bytes().chain(io::repeat(b' ').take(filler)).chain(Broken);
            let error = read("f", reader, None, None).expect_err("broken");
            assert!(matches!(error, InputError::Unreadable { .. }), "{start:?}: {error}");
            assert!(
                error.to_string().starts_with("f: cannot be read: the disk is gone: "),
                "{error}"
            );
        }
    }
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let map = Mapping::parse("id=id,app=app").expect("a mapping");
    let refused = |text: &str, map: Option<&Mapping>, container: Option<&str>| {
        read("f", text.as_bytes(), map, container)
            .expect_err("must be refused")
            .to_string()
    };
    assert_eq!(
        refused("id,app\n1,a\n", None, Some("mesh")),
        "f: `--container` is given, but the file is a CSV, which has no containers: leave the option out"
    );
    assert!(refused("{\"id\":1,\"app\":2}", None, Some("mesh")).contains("holds JSON lines"));
    assert!(refused("{\"kind\":\"PodList\",\"items\":[]}", Some(&map), None).contains("`--map` is given"));
}
