//! iCalendar files as other programs write them: what is excepted, when a rule ends, and what is refused.

use jiff::Timestamp;
use unattended_defense::{Guard, PackErrors, app};

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().expect("an instant").as_millisecond()
}

fn load(kind: &str, zone: &str, event: &str) -> Result<Guard, PackErrors> {
    let pack = format!(
        "version: 1\npack: p\nowner: o\nscope: all\nwindows:\n- {{id: w, kind: {kind}, holidays: {{calendar: h.ics}}, zone: {zone}, reason: r}}\n"
    );
    let calendar = format!("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n{event}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n");
    Guard::from_packs([("p.yaml", pack.as_str()), ("h.ics", calendar.as_str())])
}

/// The closed spans from 2025 to the end of 2031, as texts.
fn closed(zone: &str, event: &str) -> Vec<(String, String)> {
    let guard = load("protected", zone, event).expect("a sound calendar");
    let text = |ms: i64| Timestamp::from_millisecond(ms).expect("in range").to_string();
    guard
        .spans(&app("a"), ms("2025-01-01T00:00:00Z"), ms("2032-01-01T00:00:00Z"))
        .into_iter()
        .map(|span| (text(span.from), text(span.until)))
        .collect()
}

/// The years in which something begins.
fn years(zone: &str, event: &str) -> Vec<String> {
    closed(zone, event)
        .into_iter()
        .map(|(from, _)| from[..4].to_owned())
        .collect()
}

const BERLIN: &str = "DTSTART;TZID=Europe/Berlin:20251225T000000\r\nDURATION:PT24H\r\nRRULE:FREQ=YEARLY";

#[test]
fn an_exception_is_of_one_instant_whatever_zone_it_is_written_in() {
    let all = ["2025", "2026", "2027", "2028", "2029", "2030", "2031"];
    let of = |more: &str| years("UTC", &format!("{BERLIN}\r\n{more}"));
    let december = |years: &[&str]| years.iter().map(|year| (*year).to_owned()).collect::<Vec<_>>();
    // Midnight of the 25th in Berlin is the 24th in UTC; the event begins in UTC on the 24th as well.
    assert_eq!(
        of("EXDATE:20261224T230000Z"),
        december(&["2025", "2027", "2028", "2029", "2030", "2031"])
    );
    assert_eq!(
        of("EXDATE:20261225T000000"),
        december(&["2025", "2027", "2028", "2029", "2030", "2031"])
    );
    assert_eq!(
        of("EXDATE;TZID=Asia/Shanghai:20261225T070000,20271225T070000"),
        december(&["2025", "2028", "2029", "2030", "2031"])
    );
    // Another hour of the same day is no exception from anything.
    assert_eq!(of("EXDATE;TZID=Europe/Berlin:20261225T080000"), december(&all));
    // Two days in a row, one of which is excepted by an instant whose date is that of the other.
    let both = format!(
        "{};BYMONTH=12;BYMONTHDAY=24,25\r\nEXDATE:20261224T230000Z",
        BERLIN.replace("1225T", "1224T")
    );
    let of_2026: Vec<_> = closed("UTC", &both)
        .into_iter()
        .filter(|(from, _)| from.starts_with("2026"))
        .collect();
    assert_eq!(
        of_2026,
        [("2026-12-23T23:00:00Z".to_owned(), "2026-12-24T23:00:00Z".to_owned())]
    );
    let mixed = load("protected", "UTC", &format!("{BERLIN}\r\nEXDATE;VALUE=DATE:20261225")).expect_err("a date");
    assert!(
        mixed[0].what.contains("excepts nothing") && mixed[0].line == 6,
        "{mixed}"
    );
}

#[test]
fn a_rule_ends_with_an_instant_and_not_with_its_date_elsewhere() {
    let until = |until: &str| years("UTC", &format!("{BERLIN};UNTIL={until}")).len();
    // 2027-12-25 00:00 in Berlin is the last of them, in each of these.
    assert_eq!(until("20271224T230000Z"), 3);
    assert_eq!(until("20271225T000000"), 3);
    assert_eq!(until("20271225"), 3);
    assert_eq!(until("20271224T225959Z"), 2);
    assert_eq!(until("20271224"), 2);
    // The start is there even where the rule ends before it.
    assert_eq!(until("20200101"), 1);
    // A date that is bounded by a time of another zone: the careful reading.
    let whole = "DTSTART;VALUE=DATE:20251225\r\nRRULE:FREQ=YEARLY;UNTIL=20271224T230000Z";
    assert_eq!(years("Europe/Berlin", whole).len(), 3);
    let opens = load("change", "Europe/Berlin", whole).expect("sound");
    let spans = opens.spans(&app("a"), ms("2025-01-01T00:00:00Z"), ms("2032-01-01T00:00:00Z"));
    // Closed before, between and after two open days.
    assert_eq!(spans.len(), 3);
}

#[test]
fn what_would_be_read_in_part_is_refused() {
    for (event, line, what) in [
        (
            format!("{BERLIN}\r\nRRULE:FREQ=YEARLY;COUNT=1"),
            6,
            "twice what `RRULE`",
        ),
        (
            format!("{BERLIN}\r\nDTEND;TZID=Europe/Berlin:20251226T000000"),
            6,
            "twice what `DTEND`",
        ),
        (
            format!("{BERLIN}\r\nDTSTART:20251226T000000Z"),
            6,
            "twice what `DTSTART`",
        ),
        (format!("{BERLIN};COUNT=2;UNTIL=20301231"), 5, "`COUNT and UNTIL`"),
        (format!("{BERLIN};UNTIL=20301231garbage"), 5, "UNTIL=20301231garbage"),
        (
            format!("{BERLIN}\r\nBEGIN:VEVENT\r\nDTSTART:20260101T000000Z\r\nDURATION:PT1H\r\nEND:VEVENT"),
            6,
            "inside of another",
        ),
    ] {
        let errors = load("protected", "UTC", &event).expect_err(&event);
        assert_eq!((errors[0].file.as_str(), errors[0].line), ("h.ics", line), "{errors}");
        assert!(errors[0].what.contains(what), "{errors}");
    }
}

#[test]
fn lines_are_folded_anywhere_and_parameters_quoted() {
    let plain = closed("UTC", BERLIN);
    let folded = BERLIN
        .replace("DTSTART;", "DTST\r\n ART;")
        .replace("FREQ", "FR\r\n\tEQ")
        .replace("Berlin:", "Ber\r\n lin:");
    assert_eq!(closed("UTC", &folded), plain);
    assert_eq!(closed("UTC", &BERLIN.replace("\r\n", "\n")), plain);
    let quoted = BERLIN.replace("DTSTART;", "DTSTART;X-NOTE=\"a;b:c,d\";");
    assert_eq!(closed("UTC", &quoted), plain);
    let stranger = format!("ATTENDEE;CN=\"Wu; Li\":mailto:wu@example.org\r\n{BERLIN}");
    assert_eq!(closed("UTC", &stranger), plain);
}

#[test]
fn a_fold_inside_of_a_character_does_not_harm_it() {
    let directory = std::env::temp_dir().join(format!("unattended-folds-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a place for files");
    let pack = "version: 1\npack: p\nowner: o\nscope: all\nwindows:\n- {id: w, kind: protected, holidays: {calendar: h.ics}, zone: Asia/Shanghai, reason: r}\n";
    std::fs::write(directory.join("p.yaml"), pack).expect("written");
    let event = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:春节假期\r\nDTSTART;VALUE=DATE:20270206\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    let begin = event.find('春').expect("there");
    let noon = ms("2027-02-06T04:00:00Z");
    for at in begin..=begin + "春节假期".len() {
        for fold in ["\r\n ", "\n\t"] {
            let bytes = [&event.as_bytes()[..at], fold.as_bytes(), &event.as_bytes()[at..]].concat();
            std::fs::write(directory.join("h.ics"), bytes).expect("written");
            let guard = Guard::load(&directory).expect("sound");
            let blockers = guard.why_not_now(&app("a"), noon);
            assert_eq!(blockers[0].reason, "r: 春节假期", "{at}");
        }
    }
    // What is no text at all is said of the calendar.
    std::fs::write(directory.join("h.ics"), b"BEGIN:VCALENDAR\xff").expect("written");
    let errors = Guard::load(&directory).expect_err("no text");
    assert!(errors[0].what.contains("cannot read the calendar"), "{errors}");
    std::fs::remove_dir_all(&directory).expect("removed");
}
