//! What a work took.

use serde_json::{Map, Value as Json};

/// What a work took: names with their figures, in the order in which they were taken.
#[derive(Clone, Debug)]
pub struct Figures {
    pub(super) values: Map<String, Json>,
}

impl Figures {
    /// Of a work on so many rows. Who makes it has checked the result.
    pub(super) fn of(work: &str, rows: usize) -> Self {
        Self { values: Map::new() }.with("work", work).with("rows", rows).with("correct", true)
    }

    /// The same with one more.
    pub(super) fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    /// The same with those of another work that belong to it; its name, rows and correctness are not taken.
    #[must_use]
    pub fn with_all(mut self, prefix: &str, other: &Self, names: &[&str]) -> Self {
        for name in names {
            if let Some(value) = other.values.get(*name) {
                self.values.insert(format!("{prefix}{name}"), value.clone());
            }
        }
        self
    }

    /// A figure; zero where it was not taken.
    pub(super) fn number(&self, name: &str) -> f64 {
        self.values.get(name).and_then(Json::as_f64).unwrap_or(0.0)
    }

    /// Bytes that came down.
    pub fn down(&self) -> u64 {
        self.number("down") as u64
    }

    /// By which it is recorded: its work, what was done in it, and the rows.
    pub(super) fn key(&self) -> String {
        let text = |name: &str| self.values.get(name).map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
        ["work", "of", "bits_per_s", "rows"].into_iter().filter_map(text).collect::<Vec<_>>().join(" ")
    }

    /// The median of each figure over several runs of one work.
    ///
    /// # Panics
    /// Without a run.
    pub fn median(runs: &[Self]) -> Self {
        let mut values = runs.first().expect("a median is of something").values.clone();
        for (name, value) in &mut values {
            let mut seen: Vec<f64> = runs.iter().filter_map(|run| run.values.get(name)?.as_f64()).collect();
            if seen.len() == runs.len() {
                seen.sort_by(f64::total_cmp);
                *value = number(seen[seen.len() / 2]);
            }
        }
        Self { values }.with("runs", runs.len())
    }

    /// One JSON object.
    pub fn json(&self) -> String {
        Json::Object(self.values.clone()).to_string()
    }

    /// For people.
    pub fn line(&self) -> String {
        let rest =
            self.values.iter().filter(|(name, _)| !["work", "of", "bits_per_s", "rows", "correct"].contains(&name.as_str()));
        let rest: Vec<String> = rest.map(|(name, value)| format!("{name} {value}")).collect();
        format!("{}: {}", self.key(), rest.join(", "))
    }
}

/// A whole number where it is one, else with two digits.
pub(super) fn number(value: f64) -> Json {
    if value.fract() == 0.0 { Json::from(value as i64) } else { Json::from((value * 100.0).round() / 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_taken_of_each_figure_by_itself() {
        let run = |up: u64, ms: f64| Figures::of("W1", 10).with("up", up).with("wall_ms", number(ms));
        let median = Figures::median(&[run(1, 9.0), run(3, 7.254), run(2, 8.0)]);
        assert_eq!(median.json(), r#"{"work":"W1","rows":10,"correct":true,"up":2,"wall_ms":8,"runs":3}"#);
        assert_eq!(median.key(), "W1 10");
    }
}
