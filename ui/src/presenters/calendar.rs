//! A month to choose a day from: which days stand where, and what they are called.

use super::values::Language;
use jiff::civil::{Date, Weekday};
use jiff::{Span, ToSpan};

/// Six weeks hold every month, whatever day it begins on.
pub const DAYS: usize = 42;

const MONTHS: [[&str; 12]; 4] = [
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"],
    ["janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"],
    [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ],
    ["Januari", "Februari", "Machi", "Aprili", "Mei", "Juni", "Julai", "Agosti", "Septemba", "Oktoba", "Novemba", "Desemba"],
];

/// From Monday on.
const WEEKDAYS: [[&str; 7]; 4] = [
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
    ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"],
    ["Jumatatu", "Jumanne", "Jumatano", "Alhamisi", "Ijumaa", "Jumamosi", "Jumapili"],
];

/// From Monday on, for the heads of columns.
const WEEKDAYS_SHORT: [[&str; 7]; 4] = [
    ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"],
    ["lu", "ma", "me", "je", "ve", "sa", "di"],
    ["lu", "ma", "mi", "ju", "vi", "sá", "do"],
    ["Jtt", "Jnn", "Jtn", "Alh", "Ijm", "Jmo", "Jpl"],
];

/// A day, and the time behind it if there is one.
fn parts(written: &str) -> (&str, Option<&str>) {
    match written.trim().split_once(['T', 't', ' ']) {
        Some((day, time)) => (day, Some(time.trim())),
        None => (written.trim(), None),
    }
}

/// How far the cursor goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stride {
    /// Days; below zero, back.
    Days(i8),
    /// To the first day of the week.
    WeekFirst,
    /// To the last day of the week.
    WeekLast,
    /// Months; below zero, back.
    Months(i8),
    /// Years; below zero, back.
    Years(i8),
}

/// A day as it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Day {
    /// The day.
    pub date: Date,
    /// It is one of the month that is shown.
    pub inside: bool,
    /// It is today.
    pub today: bool,
    /// It is what the field holds.
    pub chosen: bool,
}

/// A month, and the day in it where the cursor stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Calendar {
    cursor: Date,
    chosen: Option<Date>,
    today: Date,
    language: Language,
}

impl Calendar {
    /// The month of the day that was written; of today where none was.
    pub fn open(written: &str, today: Date, language: Language) -> Self {
        let (day, _) = parts(written);
        let chosen = Date::strptime("%Y-%m-%d", day.replace(['/', '.'], "-")).ok();
        Self { cursor: chosen.unwrap_or(today), chosen, today, language }
    }

    /// A day of a moment in place of the one that is written. The time behind it stays; where there is none, it is midnight, for
    /// all to see.
    pub fn moment(day: Date, before: &str) -> String {
        let (_, time) = parts(before);
        format!("{day} {}", time.unwrap_or("00:00"))
    }

    /// Moves the cursor. A month that is too short ends at its last day; the calendar ends where dates do.
    pub fn go(&mut self, stride: Stride) {
        let by = |span: Span| self.cursor.checked_add(span).unwrap_or(self.cursor);
        let column = self.column(self.cursor);
        self.cursor = match stride {
            Stride::Days(days) => by(days.days()),
            Stride::WeekFirst => by((-column).days()),
            Stride::WeekLast => by((6 - column).days()),
            Stride::Months(months) => by(months.months()),
            Stride::Years(years) => by(years.years()),
        };
    }

    /// Moves the cursor to today.
    pub fn go_to_today(&mut self) {
        self.cursor = self.today;
    }

    /// The days that are shown, week by week.
    pub fn days(&self) -> Vec<Day> {
        let first = self.cursor.first_of_month();
        let lead = self.column(first);
        (0..DAYS as i64)
            .map(|at| {
                // At the end of time the last day stands on.
                let date = first.saturating_add((at - i64::from(lead)).days());
                let inside = (date.year(), date.month()) == (self.cursor.year(), self.cursor.month());
                Day { date, inside, today: date == self.today, chosen: Some(date) == self.chosen }
            })
            .collect()
    }

    /// Where the cursor stands among them.
    pub fn at(&self) -> usize {
        let lead = self.column(self.cursor.first_of_month());
        usize::from(lead.unsigned_abs()) + usize::from(self.cursor.day().unsigned_abs()) - 1
    }

    /// Month and year.
    pub fn title(&self) -> String {
        let (month, year) = (self.month(self.cursor), self.cursor.year());
        let mut title = match self.language {
            Language::Spanish => format!("{month} de {year}"),
            _ => format!("{month} {year}"),
        };
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        title
    }

    /// A day in full.
    pub fn label(&self, date: Date) -> String {
        let weekday = WEEKDAYS[self.language as usize][usize::from(monday_offset(date).unsigned_abs())];
        let (day, month, year) = (date.day(), self.month(date), date.year());
        match self.language {
            Language::Spanish => format!("{weekday} {day} de {month} de {year}"),
            _ => format!("{weekday} {day} {month} {year}"),
        }
    }

    /// The heads of the columns.
    pub fn weekdays(&self) -> [&'static str; 7] {
        let mut names = WEEKDAYS_SHORT[self.language as usize];
        names.rotate_left(usize::from(first_weekday(self.language).to_monday_zero_offset().unsigned_abs()));
        names
    }

    fn month(&self, date: Date) -> &'static str {
        MONTHS[self.language as usize][usize::from(date.month().unsigned_abs()) - 1]
    }

    /// The column of a day, from zero.
    fn column(&self, date: Date) -> i8 {
        date.weekday().since(first_weekday(self.language))
    }
}

fn monday_offset(date: Date) -> i8 {
    date.weekday().to_monday_zero_offset()
}

/// The day that weeks begin with, as calendars on the wall have it (CLDR).
fn first_weekday(language: Language) -> Weekday {
    match language {
        Language::English => Weekday::Sunday,
        Language::French | Language::Spanish | Language::Swahili => Weekday::Monday,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn open(written: &str, language: Language) -> Calendar {
        Calendar::open(written, date(2026, 11, 28), language)
    }

    #[test]
    fn the_day_of_a_moment_is_chosen_and_its_time_stays() {
        let calendar = open("2024-05-31 14:30", Language::English);
        assert_eq!(calendar.days()[calendar.at()].date, date(2024, 5, 31));
        for before in ["2024-05-31  14:30", "2024-05-31T14:30"] {
            assert_eq!(Calendar::moment(date(2026, 1, 2), before), "2026-01-02 14:30");
        }
        for before in ["2024-05-31", ""] {
            assert_eq!(Calendar::moment(date(2026, 1, 2), before), "2026-01-02 00:00");
        }
    }

    #[test]
    fn a_month_stands_in_six_weeks_that_begin_as_the_language_has_it() {
        let english = open("2024-05-31", Language::English);
        let days = english.days();
        assert_eq!(days.len(), DAYS);
        // May 2024 began on a Wednesday.
        assert_eq!((days[0].date, days[3].date), (date(2024, 4, 28), date(2024, 5, 1)));
        assert_eq!(english.weekdays(), ["Su", "Mo", "Tu", "We", "Th", "Fr", "Sa"]);
        let french = open("2024-05-31", Language::French);
        assert_eq!(french.days()[0].date, date(2024, 4, 29));
        assert_eq!(french.weekdays(), ["lu", "ma", "me", "je", "ve", "sa", "di"]);
        assert_eq!(days.iter().filter(|day| day.inside).count(), 31);
        for calendar in [english, french] {
            assert_eq!(calendar.days()[calendar.at()].date, date(2024, 5, 31));
            assert!(calendar.days().iter().all(|day| day.chosen == (day.date == date(2024, 5, 31))));
        }
    }

    #[test]
    fn what_cannot_be_read_opens_at_today() {
        for written in ["", "soon", "31-05-2024", "2024-02-30"] {
            let calendar = open(written, Language::English);
            let days = calendar.days();
            assert_eq!((days[calendar.at()].date, days[calendar.at()].today), (date(2026, 11, 28), true), "{written}");
            assert!(days.iter().all(|day| !day.chosen), "{written}");
        }
        assert_eq!(open(" 1990/05/31 ", Language::English).days()[30 + 2].date, date(1990, 5, 31));
    }

    #[test]
    fn the_cursor_goes_by_days_weeks_months_and_years_and_shows_the_month_that_it_is_in() {
        let mut calendar = open("2024-01-31", Language::French);
        let mut at = |stride| {
            calendar.go(stride);
            (calendar.days()[calendar.at()].date, calendar.title())
        };
        assert_eq!(at(Stride::Days(1)), (date(2024, 2, 1), "Février 2024".into()));
        assert_eq!(at(Stride::Days(-1)), (date(2024, 1, 31), "Janvier 2024".into()));
        assert_eq!(at(Stride::Months(1)), (date(2024, 2, 29), "Février 2024".into()));
        assert_eq!(at(Stride::Years(-1)), (date(2023, 2, 28), "Février 2023".into()));
        assert_eq!(at(Stride::WeekFirst).0, date(2023, 2, 27), "a Monday");
        assert_eq!(at(Stride::WeekLast).0, date(2023, 3, 5), "a Sunday");
        assert_eq!(at(Stride::Days(7)).0, date(2023, 3, 12));
        calendar.go_to_today();
        assert_eq!(calendar.days()[calendar.at()].date, date(2026, 11, 28));
    }

    #[test]
    fn the_calendar_ends_where_dates_do() {
        for (written, stride) in [("9999-12-31", 1), ("0001-01-01", -1)] {
            let mut calendar = open(written, Language::English);
            (0..10_100).for_each(|_| calendar.go(Stride::Years(stride)));
            (0..400).for_each(|_| calendar.go(Stride::Days(stride)));
            assert_eq!(calendar.days().len(), DAYS);
            assert!(calendar.at() < DAYS);
        }
    }

    #[test]
    fn days_and_months_are_called_as_the_language_has_it() {
        let names = Language::ALL.map(|language| {
            let calendar = open("2024-08-14", language);
            (calendar.title(), calendar.label(date(2024, 8, 14)))
        });
        let said = names.each_ref().map(|(title, label)| (title.as_str(), label.as_str()));
        assert_eq!(
            said,
            [
                ("August 2024", "Wednesday 14 August 2024"),
                ("Août 2024", "mercredi 14 août 2024"),
                ("Agosto de 2024", "miércoles 14 de agosto de 2024"),
                ("Agosti 2024", "Jumatano 14 Agosti 2024"),
            ]
        );
    }
}
