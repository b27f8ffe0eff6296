//! Values as people read and write them.
//!
//! Days are written year-month-day in every language: in a clinic's records nobody may have to guess which number is the month.
//! Numbers have the language's decimal sign; both are understood, but for a number that could be two numbers: `1,234` is a
//! thousand to some and a fraction to others, and is asked for again. Moments are shown in the device's own time.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use tombolo_client::listing::target;
use tombolo_client::protocol::ids::RowKey;
use tombolo_client::protocol::schema::{Field, FieldProblem, Kind, TimeUnit, ValueError};
use tombolo_client::protocol::value::Value;

/// A moment as it is written.
const TIME_EXAMPLE: &str = "2024-05-31 14:30";

/// What the rows are called that values point at.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<RowKey, String>);

impl Names {
    /// What the row is called that a value points at, if anything is known of it.
    pub fn of(&self, field: &Field, value: &Value) -> Option<&str> {
        self.of_row(target(field, value)?)
    }

    /// What a row is called, if anything is known of it.
    pub fn of_row(&self, key: RowKey) -> Option<&str> {
        self.0.get(&key).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Adds what is known newly.
    pub fn learn(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

impl FromIterator<(RowKey, String)> for Names {
    fn from_iter<T: IntoIterator<Item = (RowKey, String)>>(names: T) -> Self {
        Self(names.into_iter().collect())
    }
}

/// A language of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Français.
    French,
    /// Español.
    Spanish,
    /// Kiswahili.
    Swahili,
}

impl Language {
    /// All, in the order of the settings.
    pub const ALL: [Self; 4] = [Self::English, Self::French, Self::Spanish, Self::Swahili];

    /// Its code; translations lie under it.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
            Self::Spanish => "es",
            Self::Swahili => "sw",
        }
    }

    /// The language of a tag of the system, such as `fr-KE`; none where it is not one of ours.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let code = tag.split(['-', '_', '.']).next().unwrap_or_default();
        Self::ALL.into_iter().find(|language| language.code().eq_ignore_ascii_case(code))
    }

    fn comma(self) -> bool {
        matches!(self, Self::French | Self::Spanish)
    }

    /// A count with its digits in groups.
    pub fn count(self, count: usize) -> String {
        let digits = count.to_string();
        let separator = if self.comma() { "\u{202f}" } else { "," };
        let mut grouped = String::with_capacity(digits.len() + digits.len() / 3 * separator.len());
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                grouped.push_str(separator);
            }
            grouped.push(digit);
        }
        grouped
    }

    /// A number of bytes, in the unit that suits.
    pub fn bytes(self, bytes: u64) -> String {
        let number = |value: f64| {
            let text = format!("{value:.1}");
            if self.comma() { text.replace('.', ",") } else { text }
        };
        match bytes {
            0..10_000 => format!("{} B", self.count(usize::try_from(bytes).unwrap_or(usize::MAX))),
            10_000..10_000_000 => format!("{} kB", number(bytes as f64 / 1e3)),
            _ => format!("{} MB", number(bytes as f64 / 1e6)),
        }
    }

    /// A time that something took, or will take.
    pub fn seconds(self, ms: u64) -> String {
        match ms {
            0..10_000 => {
                let text = format!("{:.1} s", ms as f64 / 1e3);
                if self.comma() { text.replace('.', ",") } else { text }
            }
            10_000..120_000 => format!("{} s", ms / 1000),
            _ => format!("{} min", ms / 60_000),
        }
    }
}

/// What is wrong with what was written; it is put into words by the window.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// Nothing was written where something has to be.
    Required,
    /// Not a number.
    NotANumber,
    /// Not a whole number.
    NotWhole,
    /// Not a day; an example.
    NotADate(String),
    /// Not a moment; an example.
    NotATime(String),
    /// Longer than this.
    TooLong(u32),
    /// Shorter than this.
    TooShort(u32),
    /// Less than this.
    TooSmall(String),
    /// More than this.
    TooGreat(String),
    /// More digits behind the point than this.
    TooManyDecimals(u8),
    /// None of the choices.
    NotAChoice,
    /// Not the id of a row.
    UnknownReference,
    /// A value that the field cannot hold for another reason.
    Unfit,
}

/// How values are shown and read.
#[derive(Clone, Debug)]
pub struct Locale {
    /// The language.
    pub language: Language,
    /// The device's time zone.
    pub zone: TimeZone,
}

impl Locale {
    /// A value as text; empty for no value. Yes and no, choices and references are shown by others, see [`Names`].
    pub fn show(&self, field: &Field, value: &Value) -> String {
        match (field.kind, value) {
            (Kind::Timestamp { unit }, Value::Timestamp(count)) => {
                let ms = match unit {
                    TimeUnit::Seconds => count.saturating_mul(1000),
                    TimeUnit::Milliseconds => *count,
                };
                self.moment(ms).unwrap_or_else(|| field.show(value))
            }
            (Kind::Float | Kind::Decimal { .. }, _) if self.language.comma() => field.show(value).replace('.', ","),
            _ => field.show(value),
        }
    }

    /// A moment to the minute, in milliseconds since 1970.
    pub fn moment(&self, ms: i64) -> Option<String> {
        let moment = Timestamp::from_millisecond(ms).ok()?.to_zoned(self.zone.clone());
        Some(moment.strftime("%Y-%m-%d %H:%M").to_string())
    }

    /// A moment not long ago: the time of day alone where it is of the same day.
    pub fn recent(&self, ms: i64, now_ms: i64) -> Option<String> {
        let day = |ms| Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(self.zone.clone()).date());
        if day(ms) == day(now_ms) { self.time(ms) } else { self.moment(ms) }
    }

    /// The time of day of a moment.
    pub fn time(&self, ms: i64) -> Option<String> {
        let moment = Timestamp::from_millisecond(ms).ok()?.to_zoned(self.zone.clone());
        Some(moment.strftime("%H:%M").to_string())
    }

    /// The value that was written, if the field allows it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self, field: &Field, text: &str) -> Result<Value, Wrong> {
        let text = text.trim();
        let value = match field.kind {
            Kind::Timestamp { .. } if !text.is_empty() => self.read_moment(field, text)?,
            Kind::Float | Kind::Decimal { .. } => parse(field, &self.plain_number(text, false).ok_or(Wrong::NotANumber)?)?,
            Kind::Int => parse(field, &self.plain_number(text, true).ok_or(Wrong::NotWhole)?)?,
            Kind::Date => parse(field, &text.replace(['/', '.'], "-"))?,
            _ => parse(field, text)?,
        };
        self.check(field, &value)?;
        Ok(value)
    }

    fn read_moment(&self, field: &Field, text: &str) -> Result<Value, Wrong> {
        let (day, clock) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00"));
        let day = day.replace(['/', '.'], "-");
        if clock.contains(['Z', 'z', '+', '-']) {
            return parse(field, &format!("{day} {clock}"));
        }
        let local = format!("{day} {}", clock.trim());
        let moment = ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f"]
            .iter()
            .find_map(|form| DateTime::strptime(form, &local).ok())
            .and_then(|moment| moment.to_zoned(self.zone.clone()).ok());
        match moment {
            Some(moment) => parse(field, &moment.timestamp().to_string()),
            None => Err(Wrong::NotATime(TIME_EXAMPLE.to_owned())),
        }
    }

    /// A number as the protocol reads it: a point before the fraction, and no groups. `None` where it is no number, or could be
    /// two.
    fn plain_number(&self, text: &str, whole: bool) -> Option<String> {
        let tight = text.replace(['\u{202f}', '\u{a0}', ' '], "");
        let own = if self.language.comma() { ',' } else { '.' };
        let signs: Vec<char> = tight.chars().filter(|sign| matches!(sign, '.' | ',')).collect();
        let groups = |text: &str, sign: char| grouped(text, sign).then(|| text.replace(sign, ""));
        match signs.as_slice() {
            [] => Some(tight),
            [sign] if *sign == own => Some(tight.replace(own, ".")),
            [sign] => match (groups(&tight, *sign), whole) {
                (Some(_), false) => None,
                (Some(plain), true) => Some(plain),
                (None, _) => Some(tight.replace(*sign, ".")),
            },
            // Another sign behind those of the groups begins the fraction.
            [first @ .., last] if !first.contains(last) => {
                let (before, fraction) = tight.split_once(*last)?;
                Some(format!("{}.{fraction}", groups(before, first[0])?))
            }
            [sign, ..] => groups(&tight, *sign),
        }
    }

    /// Whether the field allows a value.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, field: &Field, value: &Value) -> Result<(), Wrong> {
        field.check(value).map_err(|problem| self.wrong(field, problem))
    }

    /// What a field does not allow.
    pub fn wrong(&self, field: &Field, problem: FieldProblem) -> Wrong {
        let bound = |bound: &Option<Value>| bound.as_ref().map(|bound| self.show(field, bound)).unwrap_or_default();
        match problem {
            FieldProblem::Required => Wrong::Required,
            FieldProblem::NotAChoice => Wrong::NotAChoice,
            FieldProblem::TooSmall => Wrong::TooSmall(bound(&field.min)),
            FieldProblem::TooLarge => Wrong::TooGreat(bound(&field.max)),
            FieldProblem::TooShort => Wrong::TooShort(field.min_length.unwrap_or_default()),
            FieldProblem::TooLong => Wrong::TooLong(field.max_length.unwrap_or_default()),
            FieldProblem::WrongKind => Wrong::Unfit,
        }
    }
}

/// Whether the digits stand in groups of three, as thousands do.
fn grouped(text: &str, sign: char) -> bool {
    let mut groups = text.strip_prefix(['-', '+']).unwrap_or(text).split(sign);
    let digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let first = groups.next().is_some_and(|first| (1..=3).contains(&first.len()) && digits(first) && !first.starts_with('0'));
    first && groups.all(|group| group.len() == 3 && digits(group))
}

fn parse(field: &Field, text: &str) -> Result<Value, Wrong> {
    field.parse_text(text).map_err(|error| unread(&error))
}

/// Why a text is no value.
pub fn unread(error: &ValueError) -> Wrong {
    match error {
        ValueError::NotAnInt(_) => Wrong::NotWhole,
        ValueError::NotAFloat(_) | ValueError::NotADecimal(_) | ValueError::DecimalTooLarge(_) => Wrong::NotANumber,
        ValueError::FinerThanScale { scale, .. } => Wrong::TooManyDecimals(*scale),
        ValueError::NotADate(_) => Wrong::NotADate("2024-05-31".to_owned()),
        ValueError::NotATimestamp(_) | ValueError::FinerThanUnit { .. } => Wrong::NotATime(TIME_EXAMPLE.to_owned()),
        ValueError::NotABool(_) => Wrong::NotAChoice,
        ValueError::NotAUuid(_) => Wrong::UnknownReference,
        _ => Wrong::Unfit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_client::protocol::schema::{CLINIC, Schema};

    fn field(table: &str, name: &str) -> Field {
        let schema = Schema::parse(CLINIC).unwrap();
        schema.table_named(table).unwrap().field_named(name).unwrap().clone()
    }

    fn locale(language: Language) -> Locale {
        Locale { language, zone: TimeZone::fixed(jiff::tz::offset(3)) }
    }

    #[test]
    fn a_moment_of_another_day_says_the_day() {
        let locale = Locale { language: Language::English, zone: TimeZone::UTC };
        let noon = 1_764_417_600_000;
        assert_eq!(locale.recent(noon, noon + 3_600_000).unwrap(), "12:00");
        assert_eq!(locale.recent(noon, noon + 86_400_000).unwrap(), "2025-11-29 12:00");
        // The clock was set back meanwhile, or shows what cannot be.
        assert_eq!(locale.recent(noon, noon - 86_400_000).unwrap(), "2025-11-29 12:00");
        assert_eq!(locale.recent(i64::MAX, noon), None);
    }

    #[test]
    fn a_language_is_known_by_the_tag_of_the_system() {
        let of = |tag| Language::of_tag(tag);
        assert_eq!(
            (of("fr-KE"), of("sw_TZ.UTF-8"), of("EN")),
            (Some(Language::French), Some(Language::Swahili), Some(Language::English))
        );
        assert_eq!((of("de-CH"), of(""), of("C")), (None, None, None));
    }

    #[test]
    fn both_decimal_signs_are_understood_and_the_languages_own_is_shown() {
        let weight = field("patients", "weight_kg");
        for text in ["61.5", "61,5", " 61,5 "] {
            let value = locale(Language::English).read(&weight, text).unwrap();
            assert_eq!(locale(Language::English).show(&weight, &value), "61.5", "{text}");
            assert_eq!(locale(Language::French).show(&weight, &value), "61,5", "{text}");
        }
        assert_eq!(locale(Language::English).read(&weight, "heavy"), Err(Wrong::NotANumber));
    }

    #[test]
    fn a_day_may_be_written_with_other_separators_but_never_in_another_order() {
        let born = field("patients", "birth_date");
        let english = locale(Language::English);
        assert_eq!(english.read(&born, "1990/05/31"), english.read(&born, "1990-05-31"));
        assert!(english.read(&born, "1990-05-31").is_ok());
        assert_eq!(english.read(&born, "31-05-1990"), Err(Wrong::NotADate("2024-05-31".into())));
    }

    #[test]
    fn a_moment_is_shown_and_read_in_the_devices_own_time() {
        let at = Field { kind: Kind::Timestamp { unit: TimeUnit::Seconds }, ..field("patients", "birth_date") };
        let here = locale(Language::English);
        let value = here.read(&at, "2024-05-31 14:30").unwrap();
        assert_eq!(at.show(&value), at.show(&at.parse_text("2024-05-31T11:30:00Z").unwrap()));
        assert_eq!(here.show(&at, &value), "2024-05-31 14:30");
    }

    #[test]
    fn counts_have_their_digits_in_groups() {
        assert_eq!(Language::English.count(1_234_567), "1,234,567");
        assert_eq!(Language::English.count(999), "999");
        assert_eq!(Language::French.count(10_000), "10\u{202f}000");
    }

    #[test]
    fn a_number_that_could_be_two_numbers_is_refused_and_never_guessed() {
        let weight = field("patients", "weight_kg");
        let (english, french) = (locale(Language::English), locale(Language::French));
        assert_eq!(english.read(&weight, "1,234"), Err(Wrong::NotANumber), "thousands to some, a fraction to others");
        assert_eq!(french.read(&weight, "1.234"), Err(Wrong::NotANumber));
        assert_eq!(english.read(&weight, "1.234"), Ok(Value::Float(1.234)));
        assert_eq!(french.read(&weight, "1,234"), Ok(Value::Float(1.234)));
        assert_eq!(english.read(&weight, "0,234"), Ok(Value::Float(0.234)), "no thousands begin with zero");
    }

    #[test]
    fn digits_in_groups_are_read() {
        let money = Field { kind: Kind::Decimal { scale: 2 }, min: None, max: None, ..field("patients", "weight_kg") };
        for (language, text) in [
            (Language::English, "1,234.50"),
            (Language::Spanish, "1.234,50"),
            (Language::French, "1\u{202f}234,50"),
            (Language::Swahili, "1 234.5"),
        ] {
            assert_eq!(locale(language).read(&money, text), Ok(Value::Decimal(123_450)), "{text}");
        }
        assert_eq!(locale(Language::English).read(&money, "-1,234,567.5"), Ok(Value::Decimal(-123_456_750)));
        assert_eq!(locale(Language::English).read(&money, "1,234,567"), Ok(Value::Decimal(123_456_700)));
        for text in ["12,34.5", "1,23,456.5", "1.2.3", "1,2,3", "1.234,567.8", "--1,234.5"] {
            assert_eq!(locale(Language::English).read(&money, text), Err(Wrong::NotANumber), "{text}");
        }
        let count = field("stock", "count");
        assert_eq!(locale(Language::English).read(&count, "1,234"), Ok(Value::Int(1234)), "a whole number has no fraction");
        assert_eq!(locale(Language::Spanish).read(&count, "1.234"), Ok(Value::Int(1234)));
        assert_eq!(locale(Language::English).read(&count, "1.5"), Err(Wrong::NotWhole));
    }

    #[test]
    fn a_moment_without_offset_is_never_read_in_another_zone() {
        let at = Field { kind: Kind::Timestamp { unit: TimeUnit::Milliseconds }, min: None, ..field("patients", "birth_date") };
        let here = locale(Language::English);
        let expected = here.read(&at, "2024-05-31T11:30:15.250Z").unwrap();
        for text in
            ["2024-05-31 14:30:15.25", "2024-05-31T14:30:15.250", "2024/05/31 14:30:15.25", "2024-05-31 12:30:15.25+01:00"]
        {
            assert_eq!(here.read(&at, text), Ok(expected.clone()), "{text}");
        }
        assert_eq!(here.read(&at, "2024-05-31"), here.read(&at, "2024-05-30T21:00:00Z"));
        assert!(matches!(here.read(&at, "2024-05-31 25:00"), Err(Wrong::NotATime(_))));
    }

    #[test]
    fn what_is_wrong_is_never_a_sentence() {
        let here = locale(Language::English);
        assert_eq!(here.read(&field("patients", "site"), "nobody"), Err(Wrong::UnknownReference));
        let yes_no = Field { kind: Kind::Bool, ..field("patients", "phone") };
        assert_eq!(here.read(&yes_no, "maybe"), Err(Wrong::NotAChoice));
        assert_eq!(here.check(&field("patients", "name"), &Value::Int(1)), Err(Wrong::Unfit));
    }
}
