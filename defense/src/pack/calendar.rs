//! Holidays out of an iCalendar file (RFC 5545): events on dates, and events that come each year.
//!
//! Anything else in an event that would change when it is (other repetitions, added dates, moved instances) is a fault
//! with its line, since a holiday that is read wrong is an outage on a holiday. What does not, such as descriptions and
//! alarms, is passed over.

use std::sync::Arc;

use jiff::civil::{Date, DateTime, Time};

use super::yearly::{Begins, Yearly};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, in_range, local_ms};
use crate::window::Occurrence;
use crate::zone::{Zone, Zones};

/// The largest calendar that is read, in bytes. One of a country's holidays over a century has a tenth of it.
const LARGEST: usize = 1 << 20;
/// The longest event, in days.
const LONGEST_DAYS: i64 = 62;

/// What is wrong in a line of a calendar.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: u64,
    pub(super) what: String,
    pub(super) fix: String,
}

pub(super) fn fault<T>(line: u64, what: impl Into<String>, fix: impl Into<String>) -> Result<T, Fault> {
    Err(Fault {
        line,
        what: what.into(),
        fix: fix.into(),
    })
}

/// A property: `NAME;PARAMETER=VALUE:VALUE`.
struct Property<'t> {
    line: u64,
    name: String,
    parameters: Vec<(String, &'t str)>,
    value: &'t str,
}

/// The start or end of an event, as written.
#[derive(Clone)]
struct Stamp {
    civil: DateTime,
    whole_day: bool,
    zone: Option<Arc<Zone>>,
}

#[derive(Default)]
struct Event {
    line: u64,
    summary: String,
    start: Option<Stamp>,
    end: Option<(u64, Stamp)>,
    length: Option<Length>,
    yearly: Option<Yearly>,
    except: Vec<(u64, Stamp)>,
    cancelled: bool,
}

/// How long an event is.
#[derive(Clone, Copy)]
enum Length {
    Days(i64),
    Elapsed(i64),
}

/// Every span of every event, with the event's name; ascending. `zone` is that of dates, and of times without one; `open`
/// is whether the spans open a scope rather than close it.
pub(super) fn events(
    text: &str,
    zone: &Zone,
    open: bool,
    zones: &mut Zones,
) -> Result<Vec<(Occurrence, String)>, Vec<Fault>> {
    if text.len() > LARGEST {
        return Err(vec![Fault {
            line: 1,
            what: format!("the calendar is larger than {LARGEST} bytes"),
            fix: "export only the holidays, or fewer years".to_owned(),
        }]);
    }
    let lines = unfold(text);
    let mut faults = Vec::new();
    let mut spans = Vec::new();
    let mut open_components: Vec<String> = Vec::new();
    let mut event: Option<Event> = None;
    let mut calendars = 0;
    for (line, content) in &lines {
        let property = match property(*line, content) {
            Ok(property) => property,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        match property.name.as_str() {
            "BEGIN" => {
                let component = property.value.trim().to_ascii_uppercase();
                calendars += u32::from(open_components.is_empty() && component == "VCALENDAR");
                if component == "VEVENT" && event.is_some() {
                    faults.push(Fault {
                        line: *line,
                        what: "an event begins inside of another".to_owned(),
                        fix: "export the calendar again; an `END:VEVENT` is missing before".to_owned(),
                    });
                    break;
                }
                if component == "VEVENT" {
                    event = Some(Event {
                        line: *line,
                        ..Event::default()
                    });
                }
                open_components.push(component);
            }
            "END" => {
                let component = property.value.trim().to_ascii_uppercase();
                if open_components.pop().as_ref() != Some(&component) {
                    faults.push(Fault {
                        line: *line,
                        what: format!("`END:{component}` ends what did not begin"),
                        fix: "export the calendar again; it is damaged here".to_owned(),
                    });
                    break;
                }
                if component == "VEVENT"
                    && let Some(event) = event.take()
                    && let Err(fault) = event.lay_out(zone, open, &mut spans)
                {
                    faults.push(fault);
                }
            }
            _ if open_components.last().is_some_and(|last| last == "VEVENT") => {
                if let Some(event) = &mut event
                    && let Err(fault) = event.set(&property, zones)
                {
                    faults.push(fault);
                }
            }
            _ => {}
        }
    }
    let last = lines.last().map_or(1, |(line, _)| *line);
    if faults.is_empty() && (calendars == 0 || !open_components.is_empty()) {
        faults.push(Fault {
            line: if calendars == 0 { 1 } else { last },
            what: if calendars == 0 {
                "this is not an iCalendar file".to_owned()
            } else {
                "the calendar breaks off".to_owned()
            },
            fix: "it begins with BEGIN:VCALENDAR and ends with END:VCALENDAR".to_owned(),
        });
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    spans.sort_unstable();
    Ok(spans)
}

/// The bytes of a calendar with every fold between two characters. RFC 5545 counts octets, so who writes it may fold inside
/// of a character; the fold is moved behind it, and lines keep their numbers.
pub(super) fn fold_between(bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        let fold = match rest {
            [b'\r', b'\n', b' ' | b'\t', ..] => 3,
            [b'\n', b' ' | b'\t', ..] => 2,
            _ => 0,
        };
        let (fold, after) = rest.split_at(fold);
        let goes_on = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
        let (torn, after) = after.split_at(after.iter().take(3).take_while(goes_on).count());
        if fold.is_empty() || torn.is_empty() {
            whole.push(*first);
            rest = behind;
        } else {
            whole.extend(torn);
            whole.extend(fold);
            rest = after;
        }
    }
    whole
}

/// Lines with their numbers; a line that begins with a blank goes on with the one before.
fn unfold(text: &str) -> Vec<(u64, String)> {
    let mut lines: Vec<(u64, String)> = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in (1..).zip(text.lines()) {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some((_, last))) => last.push_str(rest),
            _ if line.trim().is_empty() => {}
            _ => lines.push((number, line.to_owned())),
        }
    }
    lines
}

fn property(line: u64, content: &str) -> Result<Property<'_>, Fault> {
    let damaged = || fault(line, "this is not a line of a calendar", "a line is `NAME:value`");
    // The colon that ends the parameters is the first one outside of quotes.
    let mut quoted = false;
    let Some(colon) = content.find(|c: char| {
        quoted ^= c == '"';
        c == ':' && !quoted
    }) else {
        return damaged();
    };
    let mut quoted = false;
    let mut head = content[..colon].split(|c: char| {
        quoted ^= c == '"';
        c == ';' && !quoted
    });
    let name = head.next().unwrap_or_default().trim().to_ascii_uppercase();
    if name.is_empty() {
        return damaged();
    }
    let mut parameters = Vec::new();
    for parameter in head {
        let Some((key, value)) = parameter.split_once('=') else {
            return damaged();
        };
        parameters.push((key.to_ascii_uppercase(), value.trim_matches('"')));
    }
    Ok(Property {
        line,
        name,
        parameters,
        value: &content[colon + 1..],
    })
}

impl Property<'_> {
    fn parameter(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(k, _)| k == key).map(|(_, value)| *value)
    }

    fn stamp(&self, text: &str, zones: &mut Zones) -> Result<Stamp, Fault> {
        let text = text.trim();
        let (name, line) = (&self.name, self.line);
        let unreadable = || {
            fault(
                line,
                format!("`{name}: {text}` is not a date or time"),
                "write 20261225, 20261225T080000 or 20261225T080000Z",
            )
        };
        let (digits, utc) = text.strip_suffix('Z').map_or((text, false), |digits| (digits, true));
        let whole_day = !digits.contains('T');
        let (date, time) = digits.split_once('T').unwrap_or((digits, "000000"));
        let (Some(date), Some(time)) = (read_date(date), read_time(time)) else {
            return unreadable();
        };
        if whole_day && utc {
            return unreadable();
        }
        let zone_name = if utc { Some("UTC") } else { self.parameter("TZID") };
        let zone = match zone_name {
            Some(zone_name) => match zones.get(zone_name) {
                Some(zone) => Some(zone),
                None => {
                    return fault(
                        line,
                        format!("the time zone `{zone_name}` does not exist"),
                        "use an IANA name, or times in UTC",
                    );
                }
            },
            None => None,
        };
        Ok(Stamp {
            civil: date.to_datetime(time),
            whole_day,
            zone,
        })
    }
}

pub(super) fn read_date(text: &str) -> Option<Date> {
    if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Date::new(
        text[..4].parse().ok()?,
        text[4..6].parse().ok()?,
        text[6..].parse().ok()?,
    )
    .ok()
}

pub(super) fn read_time(text: &str) -> Option<Time> {
    if text.len() != 6 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Time::new(
        text[..2].parse().ok()?,
        text[2..4].parse().ok()?,
        // A leap second is as good as the second before.
        text[4..].parse::<i8>().ok()?.min(59),
        0,
    )
    .ok()
}

/// `P3D`, `P1W`, `PT8H30M`: whole days, or elapsed time.
fn read_length(text: &str) -> Option<Length> {
    let rest = text.strip_prefix('+').unwrap_or(text).strip_prefix('P')?;
    let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
    let mut total = [0_i64; 2];
    for (at, (part, units)) in [
        (date, [('W', 7 * DAY_MS), ('D', DAY_MS), (' ', 0)]),
        (time, [('H', HOUR_MS), ('M', MINUTE_MS), ('S', 1_000)]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut part = part;
        while !part.is_empty() {
            let digits = part.find(|c: char| !c.is_ascii_digit())?;
            let number: i64 = part[..digits].parse().ok()?;
            let unit = part[digits..].chars().next()?;
            let (_, ms) = units.iter().find(|(letter, _)| *letter == unit)?;
            total[at] = total[at].checked_add(number.checked_mul(*ms)?)?;
            part = &part[digits + unit.len_utf8()..];
        }
    }
    match total {
        [0, 0] => None,
        [days, 0] => Some(Length::Days(days / DAY_MS)),
        [days, time] => Some(Length::Elapsed(days.checked_add(time)?)),
    }
}

impl Event {
    fn set(&mut self, property: &Property<'_>, zones: &mut Zones) -> Result<(), Fault> {
        let line = property.line;
        let given = match property.name.as_str() {
            "DTSTART" => self.start.is_some(),
            "DTEND" | "DURATION" => self.end.is_some() || self.length.is_some(),
            "RRULE" => self.yearly.is_some(),
            _ => false,
        };
        if given {
            return fault(
                line,
                format!("the event says twice what `{}` says", property.name),
                "keep one; of DTEND and DURATION, too, there is one",
            );
        }
        match property.name.as_str() {
            "SUMMARY" => self.summary = plain(property.value),
            "STATUS" => self.cancelled = property.value.trim().eq_ignore_ascii_case("CANCELLED"),
            "DTSTART" => self.start = Some(property.stamp(property.value, zones)?),
            "DTEND" => self.end = Some((line, property.stamp(property.value, zones)?)),
            "DURATION" => match read_length(property.value.trim()) {
                Some(length) => self.length = Some(length),
                None => {
                    return fault(
                        line,
                        format!("`DURATION:{}` is not a length above zero", property.value),
                        "write P1D for a day, PT8H for eight hours",
                    );
                }
            },
            "RRULE" => self.yearly = Some(Yearly::read(line, property.value)?),
            "EXDATE" => {
                for text in property.value.split(',') {
                    self.except.push((line, property.stamp(text, zones)?));
                }
            }
            name @ ("RDATE" | "EXRULE" | "RECURRENCE-ID") => {
                return fault(
                    line,
                    format!("`{name}` changes when the event is, and is not read here"),
                    "write each such date as an event of its own",
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn lay_out(&self, zone: &Zone, open: bool, spans: &mut Vec<(Occurrence, String)>) -> Result<(), Fault> {
        if self.cancelled {
            return Ok(());
        }
        let Some(start) = &self.start else {
            return fault(self.line, "the event has no start", "add DTSTART");
        };
        let zone = start.zone.as_deref().unwrap_or(zone);
        let length = self.length(start, zone)?;
        let long = match length {
            Length::Days(days) => days > LONGEST_DAYS,
            Length::Elapsed(ms) => ms > LONGEST_DAYS * DAY_MS,
        };
        if long {
            return fault(
                self.line,
                format!("the event is longer than {LONGEST_DAYS} days"),
                "a span that long is a freeze: write it into the pack",
            );
        }
        if let Some((line, _)) = self
            .except
            .iter()
            .find(|(_, except)| except.whole_day != start.whole_day)
        {
            return fault(
                *line,
                "`EXDATE` is a date and DTSTART has a time, or the other way round, so it excepts nothing",
                "write it as DTSTART is written",
            );
        }
        let dates = match &self.yearly {
            Some(yearly) => yearly.dates(start.civil.date()),
            None => vec![start.civil.date()],
        };
        for date in dates {
            let civil = date.to_datetime(start.civil.time());
            let Some(local) = local_ms(civil).filter(|ms| in_range(*ms)) else {
                continue;
            };
            let begins = Begins {
                date,
                from: zone.first_instant(local),
                whole_day: start.whole_day,
            };
            let until = self.yearly.as_ref().and_then(|yearly| yearly.until);
            // The start itself is part of every rule.
            let ended = date != start.civil.date() && until.is_some_and(|until| !until.allows(&begins, zone, open));
            if ended || self.excepts(&begins, zone) {
                continue;
            }
            let from = begins.from;
            let until = match length {
                Length::Elapsed(ms) => from + ms,
                Length::Days(days) if open => zone.first_instant(local + days * DAY_MS),
                Length::Days(days) => zone.last_instant(local + days * DAY_MS),
            };
            if from < until {
                spans.push((Occurrence { from, until }, self.summary.clone()));
            }
        }
        Ok(())
    }

    /// Whether an `EXDATE` names this beginning: its date, or exactly its instant, in whichever zone it is written.
    fn excepts(&self, begins: &Begins, zone: &Zone) -> bool {
        self.except.iter().any(|(_, except)| {
            if begins.whole_day {
                except.civil.date() == begins.date
            } else {
                let zone = except.zone.as_deref().unwrap_or(zone);
                local_ms(except.civil).is_some_and(|local| zone.first_instant(local) == begins.from)
            }
        })
    }

    fn length(&self, start: &Stamp, zone: &Zone) -> Result<Length, Fault> {
        let Some((line, end)) = &self.end else {
            return match self.length {
                Some(length) => Ok(length),
                None if start.whole_day => Ok(Length::Days(1)),
                None => fault(self.line, "the event has no length", "add DTEND or DURATION"),
            };
        };
        if start.whole_day != end.whole_day {
            return fault(
                *line,
                "the event begins with a date and ends with a time, or the other way round",
                "write two dates or two times",
            );
        }
        let instant = |stamp: &Stamp, zone: &Zone| local_ms(stamp.civil).map(|local| zone.first_instant(local));
        let ms = if start.whole_day {
            local_ms(end.civil)
                .zip(local_ms(start.civil))
                .map(|(end, start)| end - start)
        } else {
            instant(end, end.zone.as_deref().unwrap_or(zone))
                .zip(instant(start, zone))
                .map(|(end, start)| end - start)
        };
        match ms {
            Some(ms) if ms > 0 && start.whole_day => Ok(Length::Days(ms / DAY_MS)),
            Some(ms) if ms > 0 => Ok(Length::Elapsed(ms)),
            _ => fault(
                *line,
                "the event ends before it begins, or at once",
                "let DTEND be later than DTSTART; it is exclusive",
            ),
        }
    }
}

/// A text without its escapes, in one line.
fn plain(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut escaped = false;
    for c in value.chars() {
        match (escaped, c) {
            (false, '\\') => escaped = true,
            (true, 'n' | 'N') => {
                text.push(' ');
                escaped = false;
            }
            (_, c) => {
                text.push(c);
                escaped = false;
            }
        }
    }
    text.trim().to_owned()
}
