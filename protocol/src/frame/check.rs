//! What the parser cannot see: how long collections and texts may be, and orders that the receiver relies on. Batches check
//! themselves ([`crate::columns`]).

use crate::change::{PlaceRuns, Verdict, VerdictRuns};
use crate::error::DecodeError;
use crate::ids::Section;
use crate::limits::{
    ACTIVITY_DEEDS_MAX, COMMON_PAIRS_MAX, FIELDS_MAX, HISTORY_ENTRIES_MAX, NAME_BYTES_MAX, PUSH_CHANGES_MAX, PUSH_WINDOW_MAX,
    SCHEMA_BYTES_MAX, SECTIONS_MAX, WANT_ROWS_MAX,
};
use crate::message::{Activity, Authors, CaughtUp, CloseReason, Down, Hello, History, HistoryEntry, Outcome, Up};

/// Bytes of a token, and of the words that go with a violation.
const WORDS_BYTES_MAX: usize = 1024;

/// Refuses `found` of `what` above `limit`.
pub(super) fn within(what: &'static str, found: usize, limit: usize) -> Result<(), DecodeError> {
    if found > limit { Err(DecodeError::TooLarge { what, found, limit }) } else { Ok(()) }
}

/// Checks a client's message.
pub(super) fn up(message: &Up) -> Result<(), DecodeError> {
    match message {
        Up::Hello(hello) => self::hello(hello),
        Up::WantRow { rows } => within("rows that are wanted", rows.len(), WANT_ROWS_MAX),
        Up::CommonPairs { pairs } => {
            within("common pairs", pairs.len(), COMMON_PAIRS_MAX)?;
            canonical(pairs.is_sorted_by(|newer, older| newer.seq > older.seq))
        }
        Up::Push(_)
        | Up::Void { .. }
        | Up::AckDelta
        | Up::WantHistory { .. }
        | Up::WantCaughtUp
        | Up::WantActivity
        | Up::NewDevice
        | Up::Ping { .. }
        | Up::Bye => Ok(()),
    }
}

/// Checks a server's message.
pub(super) fn down(message: &Down) -> Result<(), DecodeError> {
    match message {
        Down::Welcome(welcome) => {
            check_outcomes(&welcome.outcomes)?;
            welcome.sections.as_deref().map_or(Ok(()), check_sections)?;
            check_authors(&welcome.authors)
        }
        Down::Copy(copied) => {
            check_outcomes(&copied.outcomes)?;
            check_authors(&copied.authors)
        }
        Down::Diverged(diverged) => {
            check_outcomes(&diverged.outcomes)?;
            check_authors(&diverged.authors)
        }
        Down::Result { outcome, authors, .. } => {
            check_outcome(outcome)?;
            check_authors(authors)
        }
        Down::Delta(delta) => check_authors(&delta.authors),
        Down::CaughtUp(caught_up) => check_caught_up(caught_up),
        Down::Sections { sections, .. } => check_sections(sections),
        Down::Schema { text, .. } => within("bytes of a schema", text.len(), SCHEMA_BYTES_MAX),
        Down::History(history) => check_history(history),
        Down::Activity(activity) => check_activity(activity),
        Down::DeviceIssued { token, .. } => within("bytes of a token", token.len(), WORDS_BYTES_MAX),
        Down::Closed(CloseReason::Violation { what }) => within("bytes of a reason", what.len(), WORDS_BYTES_MAX),
        Down::Rows { asked, authors, .. } => {
            within("rows that were asked for", asked.len(), WANT_ROWS_MAX)?;
            check_authors(authors)
        }
        Down::Replaced { .. }
        | Down::WhichCommon
        | Down::OtherServer { .. }
        | Down::Pong { .. }
        | Down::Restarting { .. }
        | Down::Closed(_) => Ok(()),
    }
}

fn canonical(holds: bool) -> Result<(), DecodeError> {
    if holds { Ok(()) } else { Err(DecodeError::NotCanonical) }
}

/// Checks Hello, in its message or by itself.
pub(super) fn hello(hello: &Hello) -> Result<(), DecodeError> {
    within("sections", hello.cursors.sections.len() + hello.cursors.fills.len(), SECTIONS_MAX)?;
    within("frozen pushes", hello.frozen.len(), PUSH_WINDOW_MAX)?;
    canonical(hello.frozen.is_sorted_by(|(lower, _), (higher, _)| lower < higher))
}

fn check_sections(sections: &[Section]) -> Result<(), DecodeError> {
    within("sections", sections.len(), SECTIONS_MAX)?;
    canonical(sections.is_sorted_by(|one, next| one < next))
}

fn check_outcomes(outcomes: &[Outcome]) -> Result<(), DecodeError> {
    within("outcomes", outcomes.len(), PUSH_WINDOW_MAX)?;
    outcomes.iter().try_for_each(check_outcome)
}

fn check_outcome(outcome: &Outcome) -> Result<(), DecodeError> {
    let Some(verdicts) = &outcome.verdicts else { return check_expected(&outcome.as_expected, &[]) };
    within("verdicts", verdicts.len(), PUSH_CHANGES_MAX)?;
    let VerdictRuns(runs) = verdicts;
    canonical(runs.iter().all(|(_, count)| *count > 0) && runs.is_sorted_by(|one, next| one.0 != next.0))?;
    check_expected(&outcome.as_expected, &verdicts.iter().collect::<Vec<_>>())
}

/// Only of what was accepted is known what the client expects.
fn check_expected(expected: &PlaceRuns, verdicts: &[&Verdict]) -> Result<(), DecodeError> {
    within("places in a push", expected.end(), verdicts.len())?;
    let PlaceRuns(runs) = expected;
    canonical(runs.iter().all(|(_, count)| *count > 0) && runs.iter().skip(1).all(|(skipped, _)| *skipped > 0))?;
    let accepted = |place: usize| matches!(verdicts[place], Verdict::Accepted { .. });
    if !expected.iter().all(accepted) {
        return Err(DecodeError::Malformed("a change that is as expected and was not accepted".into()));
    }
    Ok(())
}

fn check_caught_up(caught_up: &CaughtUp) -> Result<(), DecodeError> {
    let sections = usize::try_from(caught_up.sections).unwrap_or(usize::MAX);
    within("sections", sections, SECTIONS_MAX)?;
    if caught_up.digests.iter().any(|(place, _)| *place >= caught_up.sections) {
        return Err(DecodeError::Malformed("a digest of no section".into()));
    }
    canonical(caught_up.digests.is_sorted_by(|(one, _), (next, _)| one < next))
}

fn check_authors(authors: &Authors) -> Result<(), DecodeError> {
    within("names", authors.names.len(), authors.commits.len())?;
    for name in &authors.names {
        within("bytes of a name", name.len(), NAME_BYTES_MAX)?;
    }
    let known = |name: u32| usize::try_from(name).is_ok_and(|index| index < authors.names.len());
    if !authors.commits.iter().all(|commit| known(commit.name)) {
        return Err(DecodeError::Malformed("a commit by a user who is not named".into()));
    }
    canonical(authors.commits.is_sorted_by(|one, next| one.seq < next.seq))
}

fn check_activity(activity: &Activity) -> Result<(), DecodeError> {
    within("pushes", activity.deeds.len(), ACTIVITY_DEEDS_MAX)?;
    for deed in &activity.deeds {
        within("bytes of a name", deed.by.len(), NAME_BYTES_MAX)?;
        within("bytes of a name", deed.device_name.len(), NAME_BYTES_MAX)?;
        within("kinds of change", deed.rows.len(), PUSH_CHANGES_MAX)?;
        canonical(deed.rows.is_sorted_by(|one, next| (one.0, one.1) < (next.0, next.1)))?;
    }
    Ok(())
}

fn check_history(history: &History) -> Result<(), DecodeError> {
    within("history entries", history.entries.len(), HISTORY_ENTRIES_MAX)?;
    history.entries.iter().try_for_each(check_history_entry)
}

fn check_history_entry(entry: &HistoryEntry) -> Result<(), DecodeError> {
    within("bytes of a name", entry.by.len(), NAME_BYTES_MAX)?;
    within("bytes of a name", entry.device_name.len(), NAME_BYTES_MAX)?;
    within("fields", entry.fields.len(), FIELDS_MAX)?;
    within("lost values", entry.lost.len(), FIELDS_MAX)?;
    let values = entry.fields.iter().flat_map(|field| [&field.before, &field.after]);
    canonical(values.chain(entry.lost.iter().map(|(_, value)| value)).all(|value| value.is_canonical()))
}
