//! A CSV file into a table: checked as a whole, then written as a whole.

use super::request::{Answer, Refused};
use super::rows::table_named;
use super::{Console, IMPORT_BYTES_MAX};
use crate::access::OPERATOR;
use crate::csv::{self, At, Plan, PlanError, Problem, RowIds};
use crate::net::clock::{self, SteadyClock};
use crate::net::hub::{Hub, Unavailable};
use crate::workspace::{ImportRefusal, ImportWatch, Imported, Job, Reply};
use std::sync::Arc;
use tombolo_protocol::change::{Change, Refusal, Verdict};
use tombolo_protocol::schema::Table;

/// A file with more rows says how far it has come.
const ROWS_QUIET: usize = 5_000;
/// So often, once it is being written.
const TOLD_EVERY_MS: i64 = 2_000;

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
    if sheet.lines.len() > ROWS_QUIET {
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
        head = match write(hub, changes, console)? {
            Ok(imported) => imported.head,
            Err(refusal) => return Err(explain(table, &lines, &refusal)),
        };
    }
    Ok(Answer::Imported { table: table.name.clone(), created, updated, unchanged, head: head.0 })
}

/// Has the writer take all changes. Says how far it is, where that takes long, and gives up where nobody waits any more.
fn write(hub: &Hub, changes: Vec<Change>, console: &mut dyn Console) -> Result<Result<Imported, ImportRefusal>, Refused> {
    let (watch, all) = (Arc::new(ImportWatch::default()), changes.len());
    let clock = SteadyClock::start();
    let mut told_ms = clock.now_ms();
    let look = || {
        if !console.is_awaited() {
            watch.give_up();
        }
        let (now_ms, decided) = (clock.now_ms(), watch.decided());
        if now_ms - told_ms >= TOLD_EVERY_MS {
            told_ms = now_ms;
            console.progress(&match decided {
                decided if decided < all => format!("{decided} of {all} changes prepared"),
                _ => format!("storing {all} changes"),
            });
        }
    };
    let job = Job::Import { by: OPERATOR, changes, watch: watch.clone() };
    match hub.ask_blocking_while(job, look) {
        Ok(Reply::Import(imported)) => Ok(imported),
        Ok(other) => Err(Refused::new(format!("the writer answered something else ({other:?}): tell the makers of Tombolo"))),
        Err(Unavailable::Failed(why)) => {
            Err(Refused::new(format!("{why}. Either all of the file was imported or nothing: look before you import it again")))
        }
        Err(error) => Err(error.into()),
    }
}

/// What the store refused, by the line that it came from: something that changed since the file was checked, or a rule that
/// only the store knows.
fn explain(table: &Table, lines: &[u64], refusal: &ImportRefusal) -> Refused {
    let ImportRefusal::Change { index, verdict, .. } = refusal else { return Refused::new(refusal.to_string()) };
    let line = lines.get(*index).copied().unwrap_or_default();
    let field = |tag| table.field(tag);
    let (column, message) = match verdict {
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
