//! A CSV file into a table: checked as a whole, then written as a whole.

use super::request::{Answer, Refused};
use super::rows::table_named;
use super::{Console, IMPORT_BYTES_MAX};
use crate::access::OPERATOR;
use crate::csv::{self, At, Plan, PlanError, Problem, RowIds};
use crate::net::clock;
use crate::net::hub::{Hub, Unavailable};
use crate::workspace::{ImportRefusal, Job, Reply};
use tombolo_protocol::change::{Refusal, Verdict};
use tombolo_protocol::schema::Table;

/// A file with more rows says how far it has come.
const ROWS_QUIET: usize = 5_000;

pub(super) fn import(
    hub: &Hub,
    table: &str,
    set: &[(String, String)],
    content: &[u8],
    console: &mut dyn Console,
) -> Result<Answer, Refused> {
    if content.len() > IMPORT_BYTES_MAX {
        let most = IMPORT_BYTES_MAX >> 20;
        return Err(Refused::new(format!("the file is larger than {most} MiB: nothing was imported. Split it")));
    }
    let snapshot = hub.snapshot()?;
    let schema = snapshot.schema().clone();
    let table = table_named(&schema, table)?;
    let wrong = |problems: csv::Problems| Refused::new(format!("the file has mistakes, nothing was imported:\n{problems}"));
    let sheet = csv::read(table, set, content).map_err(wrong)?;
    let loud = sheet.lines.len() > ROWS_QUIET;
    if loud {
        console.progress(&format!("{} rows read, checking them", sheet.lines.len()));
    }
    let now_ms = hub.now_ms();
    let mut ids = RowIds::new(now_ms, clock::random());
    let plan = csv::plan(&snapshot, &schema, table, &sheet, &mut ids, now_ms).map_err(|error| match error {
        PlanError::Problems(problems) => wrong(problems),
        PlanError::Store(error) => error.into(),
    })?;
    let mut head = snapshot.head().seq;
    drop(snapshot);
    let Plan { changes, lines, created, updated, unchanged } = plan;
    if !changes.is_empty() {
        if loud {
            console.progress(&format!("writing {} rows", changes.len()));
        }
        let answer = hub.ask_blocking(Job::Import { by: OPERATOR, changes }).map_err(|error| match error {
            Unavailable::Failed(why) => {
                Refused::new(format!("{why}. Either all of the file was imported or nothing: look before you import it again"))
            }
            error => error.into(),
        })?;
        head = match answer {
            Reply::Import(Ok(imported)) => imported.head,
            Reply::Import(Err(refusal)) => return Err(explain(table, &lines, &refusal)),
            other => {
                return Err(Refused::new(format!(
                    "the writer answered something else ({other:?}): tell the makers of Tombolo"
                )));
            }
        };
    }
    Ok(Answer::Imported { table: table.name.clone(), created, updated, unchanged, head: head.0 })
}

/// What the store refused, by the line that it came from: something that changed since the file was checked, or a rule that
/// only the store knows.
fn explain(table: &Table, lines: &[u64], refusal: &ImportRefusal) -> Refused {
    let line = lines.get(refusal.index).copied().unwrap_or_default();
    let field = |tag| table.field(tag);
    let (column, message) = match &refusal.verdict {
        Verdict::Refused(Refusal::Field { field: tag, problem }) => {
            (field(*tag), field(*tag).map(|field| field.explain(*problem)).unwrap_or_default())
        }
        Verdict::Refused(refused @ Refusal::MissingParent { field: tag, .. }) => (field(*tag), refused.to_string()),
        Verdict::Refused(refused) => (None, refused.to_string()),
        Verdict::Clash { field: tag, .. } => {
            (field(*tag), "another row has this value already, and it must be unique".to_owned())
        }
        Verdict::Conflict => (None, "the row was changed while the file was checked; import again".to_owned()),
        Verdict::Held { by } => (None, format!("it depends on row {}, which did not go through", by.id)),
        Verdict::Accepted { .. } | Verdict::Agreed => (None, "went through".to_owned()),
    };
    let at = At::Line { line, column: column.map(|field| field.name.clone()) };
    let Problem { at, message } = Problem { at, message };
    Refused::new(format!("nothing was imported:\n{at}: {message}"))
}
