//! Instants as people write them.

use unattended_defense::{Guard, Request, app, instant};

#[test]
fn offsets_and_zones_name_instants() {
    for (text, ms) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.0019Z", 1),
        ("2026-11-22T10:00+08:00", 1_795_312_800_000),
        ("2026-11-22T10:00[Asia/Shanghai]", 1_795_312_800_000),
        ("2026-11-22T10:00:00+08:00[Asia/Shanghai]", 1_795_312_800_000),
        // 29 February, a year's end, and half an hour of daylight saving.
        ("2028-02-29T23:30-05:00", 1_835_497_800_000),
        ("2026-12-31T23:59:59.999Z", 1_798_761_599_999),
        ("2026-04-05T01:15+11:00[Australia/Lord_Howe]", 1_775_312_100_000),
        // Either pass of the hour that comes twice, by its offset.
        ("2026-10-25T02:30+02:00[Europe/Berlin]", 1_792_888_200_000),
        ("2026-10-25T02:30+01:00[Europe/Berlin]", 1_792_891_800_000),
    ] {
        assert_eq!(instant(text), Ok(ms), "{text}");
    }
}

#[test]
fn what_names_no_instant_alone_says_what_to_write() {
    for (text, what, fix) in [
        ("2026-11-22T10:00", "nobody knows whose", "add an offset or a zone"),
        ("2026-11-22", "nobody knows whose", "add an offset or a zone"),
        ("1795312800000", "no instant", "2026-11-22T10:00:00+08:00"),
        ("now", "no instant", "2026-11-22T10:00:00+08:00"),
        ("", "no instant", "2026-11-22T10:00:00+08:00"),
        ("2026-02-29T10:00Z", "no instant", "write"),
        ("2026-02-29T10:00[Europe/Berlin]", "no instant", "write"),
        (
            "2026-11-22T10:00[Asia/Shangai]",
            "`Asia/Shangai`, which nobody knows",
            "IANA",
        ),
        ("2026-11-22T10:00[", "``, which nobody knows", "IANA"),
        (
            "2026-11-22T10:00+07:00[Asia/Shanghai]",
            "does not have then",
            "leave out",
        ),
        (
            "2026-03-29T02:30[Europe/Berlin]",
            "is skipped",
            "2026-03-29T01:30:00+01:00[Europe/Berlin] or 2026-03-29T03:30:00+02:00[Europe/Berlin]",
        ),
        (
            "2026-10-25T02:30[Europe/Berlin]",
            "comes twice",
            "2026-10-25T02:30:00+02:00[Europe/Berlin] or 2026-10-25T02:30:00+01:00[Europe/Berlin]",
        ),
        ("2026-10-04T02:15[Australia/Lord_Howe]", "is skipped", "T01:45:00+10:30"),
        (
            "2018-11-04T00:30[America/Sao_Paulo]",
            "is skipped",
            "2018-11-04T01:30:00-02:00",
        ),
        ("1991-04-14T02:30[Asia/Shanghai]", "is skipped", "+09:00"),
    ] {
        let error = instant(text).expect_err(text);
        assert!(error.what.contains(what) && error.fix.contains(fix), "{error}");
    }
}

#[test]
fn a_time_that_comes_twice_is_told_with_its_offset() {
    let text = "version: 1\npack: p\nowner: o\nscope: all\nwindows:\n- {id: w, kind: protected, weekly: {days: daily, from: \"02:00\", for: 1h}, zone: Europe/Berlin, reason: r}\n";
    let guard = Guard::from_yaml("p.yaml", text).expect("sound");
    let why = |ms: i64| guard.decide(&Request::pre("c").scope(app("a")), ms).why();
    // 02:30 of the first pass; the hour ends where the second begins, which shows 02:00 again.
    let fold = why(1_792_888_200_000);
    assert!(fold.contains("until 2026-10-25 02:00+01:00 Europe/Berlin"), "{fold}");
    // A day later nothing comes twice, and where clocks jump there is no such time.
    let plain = why(1_792_888_200_000 + 25 * 3_600_000);
    assert!(plain.contains("until 2026-10-26 03:00 Europe/Berlin"), "{plain}");
    let gap = why(1_774_746_000_000);
    assert!(gap.contains("until 2026-03-29 04:00 Europe/Berlin"), "{gap}");
}
