//! Days and moments as text: ISO dates, RFC 3339 timestamps, in the years 1 to 9999.

use super::model::TimeUnit;
use super::text::{ValueError, quoted};
use jiff::SignedDuration;
use jiff::civil::Date;

const SECONDS_OF_DAY: i64 = 86_400;
/// 0001-01-01 as days since 1970-01-01.
const DAY_FIRST: i32 = -719_162;
/// 9999-12-31 as days since 1970-01-01.
const DAY_LAST: i32 = 2_932_896;
const EPOCH: Date = Date::constant(1970, 1, 1);

impl TimeUnit {
    /// How many of the unit make a second.
    pub fn per_second(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Milliseconds => 1000,
        }
    }

    /// First and last moment that a field of this unit holds: the years 1 to 9999.
    pub(super) fn range(self) -> (i64, i64) {
        let first = i64::from(DAY_FIRST) * SECONDS_OF_DAY * self.per_second();
        let end = (i64::from(DAY_LAST) + 1) * SECONDS_OF_DAY * self.per_second();
        (first, end - 1)
    }
}

/// First and last day that a date field holds.
pub(super) fn day_range() -> (i32, i32) {
    (DAY_FIRST, DAY_LAST)
}

/// Days since 1970-01-01 of `YYYY-MM-DD`.
pub(super) fn parse_date(text: &str) -> Result<i32, ValueError> {
    days_of(text).ok_or_else(|| ValueError::NotADate(quoted(text)))
}

fn days_of(text: &str) -> Option<i32> {
    let (year, rest) = number(text, 4)?;
    let (month, rest) = number(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = number(rest.strip_prefix('-')?, 2)?;
    if !rest.is_empty() || year == 0 {
        return None;
    }
    let date = Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    i32::try_from(date.duration_since(EPOCH).as_secs() / SECONDS_OF_DAY).ok()
}

/// `YYYY-MM-DD`; a day that no calendar of four digits has is shown as its number.
pub(super) fn show_date(days: i32) -> String {
    if !(DAY_FIRST..=DAY_LAST).contains(&days) {
        return format!("day {days}");
    }
    let date = EPOCH.saturating_add(SignedDuration::from_hours(24 * i64::from(days)));
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}

/// Count of the unit since 1970-01-01 00:00 UTC of `YYYY-MM-DD HH:MM[:SS[.fraction]]`, with `T` for the space and with an
/// offset (`Z`, `+03:00`) if wished; without one it is UTC.
pub(super) fn parse_timestamp(text: &str, unit: TimeUnit) -> Result<i64, ValueError> {
    let malformed = || ValueError::NotATimestamp(quoted(text));
    let (day, clock) = text.split_at_checked(10).ok_or_else(malformed)?;
    let days = days_of(day).ok_or_else(malformed)?;
    let clock = clock.strip_prefix(['T', 't', ' ']).ok_or_else(malformed)?;
    let (seconds, nanos, offset) = clock_of(clock).ok_or_else(malformed)?;
    let seconds = i64::from(days) * SECONDS_OF_DAY + seconds;
    let nanos_of_unit = 1_000_000_000 / unit.per_second();
    if nanos % nanos_of_unit != 0 {
        return Err(ValueError::FinerThanUnit { text: quoted(text), unit: unit.words() });
    }
    let count = (seconds - offset) * unit.per_second() + nanos / nanos_of_unit;
    let (first, last) = unit.range();
    if count < first || count > last { Err(malformed()) } else { Ok(count) }
}

/// Seconds of the day, nanoseconds, and the offset in seconds, of `HH:MM[:SS[.fraction]][offset]`.
fn clock_of(text: &str) -> Option<(i64, i64, i64)> {
    let (hours, minutes, rest) = hours_and_minutes(text)?;
    let mut seconds = hours * 3600 + minutes * 60;
    let mut nanos = 0;
    let mut rest = rest;
    if let Some(behind) = rest.strip_prefix(':') {
        let (count, behind) = number(behind, 2)?;
        if count > 59 {
            return None;
        }
        seconds += count;
        (nanos, rest) = fraction(behind)?;
    }
    Some((seconds, nanos, offset_of(rest)?))
}

/// Nanoseconds of a fraction of up to nine digits, and what follows.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(digits) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if !(1..=9).contains(&end) {
        return None;
    }
    let nanos: i64 = format!("{:0<9}", &digits[..end]).parse().ok()?;
    Some((nanos, &digits[end..]))
}

fn offset_of(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first() {
        None | Some(b'Z' | b'z') if text.len() <= 1 => return Some(0),
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return None,
    };
    let (hours, minutes, rest) = hours_and_minutes(&text[1..])?;
    rest.is_empty().then_some(sign * (hours * 3600 + minutes * 60))
}

fn hours_and_minutes(text: &str) -> Option<(i64, i64, &str)> {
    let (hours, rest) = number(text, 2)?;
    let (minutes, rest) = number(rest.strip_prefix(':')?, 2)?;
    (hours < 24 && minutes < 60).then_some((hours, minutes, rest))
}

/// The number in the first `digits` characters, which must all be digits, and what follows.
fn number(text: &str, digits: usize) -> Option<(i64, &str)> {
    let (head, rest) = text.split_at_checked(digits)?;
    if !head.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((head.parse().ok()?, rest))
}

/// RFC 3339 in UTC with the fraction that there is; a moment outside the years 1 to 9999 is shown as its number.
pub(super) fn show_timestamp(count: i64, unit: TimeUnit) -> String {
    let (first, last) = unit.range();
    if count < first || count > last {
        return format!("{count} {} since 1970", unit.words());
    }
    let seconds = count.div_euclid(unit.per_second());
    let part = count.rem_euclid(unit.per_second());
    let day = i32::try_from(seconds.div_euclid(SECONDS_OF_DAY)).unwrap_or(DAY_LAST);
    let clock = seconds.rem_euclid(SECONDS_OF_DAY);
    let fraction = if part == 0 { String::new() } else { format!(".{part:03}") };
    format!("{}T{:02}:{:02}:{:02}{fraction}Z", show_date(day), clock / 3600, clock / 60 % 60, clock % 60)
}

impl TimeUnit {
    /// The unit in words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_counted_from_1970() {
        assert_eq!(parse_date("1970-01-01"), Ok(0));
        assert_eq!(parse_date("1969-12-31"), Ok(-1));
        assert_eq!(parse_date("2024-02-29"), Ok(19_782));
        assert_eq!(parse_date("0001-01-01"), Ok(DAY_FIRST));
        assert_eq!(parse_date("9999-12-31"), Ok(DAY_LAST));
    }

    #[test]
    fn a_day_that_the_calendar_does_not_have_is_an_error() {
        for text in [
            "2023-02-29",
            "2024-13-01",
            "2024-1-1",
            "20240101",
            "2024-01-01T00:00",
            "0000-01-01",
            "-001-01-01",
            "+024-01-01",
            "2024-01-é",
        ] {
            assert_eq!(parse_date(text), Err(ValueError::NotADate(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_moment_without_offset_is_utc() {
        let expected = parse_timestamp("2024-05-31T14:30:00Z", TimeUnit::Seconds).unwrap();
        assert_eq!(expected, 1_717_165_800);
        for text in [
            "2024-05-31 14:30",
            "2024-05-31 14:30:00",
            "2024-05-31t14:30z",
            "2024-05-31T17:30:00+03:00",
            "2024-05-31T11:00:00.000-03:30",
        ] {
            assert_eq!(parse_timestamp(text, TimeUnit::Seconds), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_moment_finer_than_the_unit_is_an_error() {
        let text = "2024-05-31T14:30:00.25Z";
        assert_eq!(parse_timestamp(text, TimeUnit::Milliseconds), Ok(1_717_165_800_250));
        assert!(matches!(parse_timestamp(text, TimeUnit::Seconds), Err(ValueError::FinerThanUnit { unit: "seconds", .. })));
    }

    #[test]
    fn a_moment_that_no_clock_shows_is_an_error() {
        for text in [
            "",
            "2024-05-31",
            "2024-05-31 24:00",
            "2024-05-31 14:60",
            "2024-05-31 14:30:60",
            "2024-05-31 14:30:00.",
            "2024-05-31 14:30 Z",
            "2024-05-31 14:30:00.1234567890",
            "2024-05-31 14:30+3",
            "2024-05-31 14:30ZZ",
            "2024-05-31 1é:30",
            "0001-01-01 00:00+01:00",
        ] {
            assert!(matches!(parse_timestamp(text, TimeUnit::Seconds), Err(ValueError::NotATimestamp(_))), "{text}");
        }
    }

    #[test]
    fn what_no_calendar_has_is_shown_as_its_number() {
        assert_eq!(show_date(i32::MAX), "day 2147483647");
        assert_eq!(show_timestamp(i64::MIN, TimeUnit::Seconds), "-9223372036854775808 seconds since 1970");
        assert_eq!(show_timestamp(TimeUnit::Milliseconds.range().1, TimeUnit::Milliseconds), "9999-12-31T23:59:59.999Z");
    }
}
