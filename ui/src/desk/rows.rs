//! What the desk shows of rows, and what it writes.

use super::{Done, Failed, Import, Passed, RowNews, Tell, Trouble, Worker};
use crate::presenters::decision::TOGETHER_NAMED_MAX;
use crate::presenters::values::Names;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use tombolo_client::csv::{self, ImportError, Problems};
use tombolo_client::listing::{Lister, Order, target};
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::ids::{FieldTag, GroupId, RowKey, TableTag};
use tombolo_client::protocol::outbox::{Edit, Pending, Resolution, Seen, Write};
use tombolo_client::protocol::value::Value;
use tombolo_client::view::{ConflictView, PendingView, Query, RowView};
use tombolo_client::{Before, Client, ClientError, LocalError, LocalWrite, Standing, TableInfo};

/// Changes of each kind that are shown at once; one turns to the others.
pub const PENDING_SHOWN_MAX: usize = 100;
/// Rows that a reference can be filtered by; of more nobody chooses in a list.
const REFERRED_MAX: usize = 100;
/// What can be undone at the same time.
const UNDO_MAX: usize = 20;

/// What the window shows.
#[derive(Default)]
pub(super) struct Shown {
    lister: Option<Lister>,
    order: Order,
    table: Option<TableTag>,
    row: Option<RowKey>,
    /// Pending changes are looked at.
    pending: bool,
    /// From where on.
    passed: Passed,
    counts: BTreeMap<TableTag, usize>,
    undo: VecDeque<Undo>,
    next_undo: u64,
}

struct Undo {
    id: u64,
    key: RowKey,
    title: String,
    what: Vec<Undoing>,
}

enum Undoing {
    /// What was discarded, or deleted with what was pending of it, is put back as it was.
    PutBack(Before),
    /// The deletion that was taken back is made again.
    DeleteAgain(RowKey),
}

impl Worker {
    /// Does something with the client; a failure is told.
    fn with<R>(&self, act: impl FnOnce(&Client) -> Result<R, ClientError>) -> Option<R> {
        match act(self.client.as_ref()?) {
            Ok(done) => Some(done),
            Err(error) => {
                self.tell(Tell::Trouble((&error).into()));
                None
            }
        }
    }

    // ---- showing ----

    pub(super) fn show_table(&mut self, table: TableTag) {
        self.shown.table = Some(table);
        self.shown.order = Order::default();
        self.shown.lister = self.with(|client| Lister::new(client, table, Order::default()));
        self.tell_listing();
        self.tell_status();
    }

    pub(super) fn order(&mut self, order: Order) {
        self.shown.order = order;
        let Some(mut lister) = self.shown.lister.take() else { return };
        self.with(|client| lister.set_order(client, order));
        self.shown.lister = Some(lister);
        self.tell_listing();
    }

    fn tell_listing(&mut self) {
        let Some(lister) = &self.shown.lister else { return };
        let (table, listing) = (lister.table(), lister.listing().clone());
        self.shown.counts.insert(table, listing.len());
        let schema = self.client.as_ref().and_then(|client| client.schema().ok());
        let fields = schema.as_ref().and_then(|schema| schema.table(table)).map(|table| &table.fields[..]).unwrap_or_default();
        let referred = fields.iter().filter_map(|field| Some((field.tag, lister.referred(field, REFERRED_MAX)?))).collect();
        self.tell(Tell::Listing { table, listing, referred });
    }

    pub(super) fn show_row(&mut self, key: Option<RowKey>) {
        self.shown.row = key;
        self.tell_row();
    }

    fn tell_row(&self) {
        let Some(key) = self.shown.row else { return };
        if let Some(news) = self.with(|client| row_news(client, key)) {
            self.tell(Tell::Row(Box::new(news)));
        }
    }

    pub(super) fn candidates(&self, table: TableTag) {
        if let Some(lister) = self.with(|client| Lister::new(client, table, Order::default())) {
            self.tell(Tell::Candidates(table, lister.listing().clone()));
        }
    }

    /// Everything is read again.
    pub(super) fn reread(&mut self) {
        self.shown.counts.clear();
        if let Some(table) = self.shown.table {
            let order = self.shown.order;
            self.shown.lister = self.with(|client| Lister::new(client, table, order));
        }
        self.tell_listing();
        self.tell_row();
        self.tell_pending();
    }

    /// Rows changed.
    pub(super) fn refresh(&mut self, changed: &[RowKey]) {
        let shown = self.shown.table;
        for key in changed.iter().filter(|key| Some(key.table) != shown) {
            self.shown.counts.remove(&key.table);
        }
        if let Some(mut lister) = self.shown.lister.take() {
            let differs = self.with(|client| lister.refresh(client, changed)).unwrap_or(false);
            self.shown.lister = Some(lister);
            if differs {
                self.tell_listing();
            }
        }
        // What it points at may have another title now, too.
        self.tell_row();
        self.tell_pending();
    }

    /// All tables with their counts. Those that did not change are not counted again.
    pub(super) fn table_infos(&mut self, pending: &[PendingView]) -> Option<Vec<TableInfo>> {
        let schema = self.client.as_ref()?.schema().ok()?;
        let mut infos = Vec::with_capacity(schema.tables.len());
        for table in &schema.tables {
            let rows = match self.shown.counts.get(&table.tag) {
                Some(count) => *count,
                None => self.with(|client| client.count(table.tag))?,
            };
            self.shown.counts.insert(table.tag, rows);
            infos.push(TableInfo::of(table, rows, pending));
        }
        Some(infos)
    }

    pub(super) fn show_pending(&mut self, shown: bool) {
        self.shown.pending = shown;
        if !shown {
            // Whoever looks again begins at the top.
            self.shown.passed = Passed::default();
        }
        self.tell_pending();
    }

    pub(super) fn turn_pending(&mut self, passed: Passed) {
        self.shown.passed = passed;
        self.tell_pending();
    }

    fn tell_pending(&mut self) {
        if !self.shown.pending {
            return;
        }
        let wanted = self.shown.passed;
        let told = self.with(|client| {
            let mut pending = client.pending()?;
            pending.sort_by_key(|view| std::cmp::Reverse(view.change.edited_at_ms));
            let ready = pending.iter().filter(|view| view.standing == Standing::Ready);
            let ready: BTreeMap<RowKey, Option<GroupId>> = ready.map(|view| (view.key, view.change.group)).collect();
            let (waiting, others): (Vec<PendingView>, Vec<PendingView>) =
                pending.into_iter().partition(|view| view.standing.waits_for_person());
            let (review, going) = (waiting.len(), others.len());
            let passed = Passed { review: page_at(wanted.review, review), going: page_at(wanted.going, going) };
            let shown = waiting.into_iter().skip(passed.review).take(PENDING_SHOWN_MAX);
            let shown: Vec<PendingView> = shown.chain(others.into_iter().skip(passed.going).take(PENDING_SHOWN_MAX)).collect();
            let conflicts = client.conflicts()?;
            let mut values: Vec<FieldValue> = shown.iter().flat_map(|view| edited(view.key.table, &view.change)).collect();
            for view in &conflicts {
                values.extend(edited(view.key.table, &view.mine));
                let server = view.server.iter().flat_map(|row| &row.fields);
                values.extend(server.map(|(field, stamped)| (view.key.table, *field, stamped.value.clone())));
            }
            let mut names = names(client, values)?;
            // A value that must be unique is another row's; and other rows may share what becomes of this one.
            let rivals = conflicts.iter().filter_map(|view| Some(view.server.as_ref()?.key).filter(|key| *key != view.key));
            let together = conflicts.iter().flat_map(|view| view.together().map(|(key, _)| *key).take(TOGETHER_NAMED_MAX));
            let others: Vec<RowKey> = rivals.chain(together).collect();
            names.learn(others.iter().copied().zip(client.titles(others.clone())?).collect());
            let keys = shown.iter().map(|view| view.key).chain(conflicts.iter().map(|view| view.key)).collect();
            let mut titles = client.titles(keys)?.into_iter();
            let pending = shown.into_iter().map(|view| (view, titles.next().unwrap_or_default())).collect();
            let conflicts = conflicts.into_iter().map(|view| (view, titles.next().unwrap_or_default())).collect();
            Ok((passed, Tell::Pending { pending, passed, conflicts, ready, review, going, names }))
        });
        if let Some((passed, told)) = told {
            self.shown.passed = passed;
            self.tell(told);
        }
    }

    pub(super) fn estimate(&self, only: BTreeSet<RowKey>) {
        if let Some(estimate) = self.with(|client| client.estimate(only)) {
            self.tell(Tell::Estimate(estimate));
        }
    }

    // ---- writing ----

    pub(super) fn save(&mut self, writes: Vec<LocalWrite>, form: u64) {
        let Some(key) = writes.first().map(|write| write.key) else { return };
        let Some(client) = &self.client else { return };
        match client.transaction(writes, false) {
            Ok(()) => {
                let title = self.title(key);
                self.tell(Tell::Done { done: Done::Saved(form), title, undo: None, key });
            }
            Err(error) => self.tell(Tell::NotSaved { form, why: why_not(&error) }),
        }
    }

    pub(super) fn delete(&mut self, key: RowKey, seen: Seen) {
        let title = self.title(key);
        let Some(client) = &self.client else { return };
        match client.delete(key, Some(seen)) {
            Ok(before) => self.done(Done::Deleted, key, title, vec![Undoing::PutBack(before)]),
            Err(error) => self.not_done(&error),
        }
    }

    /// Discards what is pending of a row. A deletion is taken back, so that edits which it swallowed are there again.
    pub(super) fn discard(&mut self, key: RowKey, field: Option<FieldTag>) {
        let title = self.title(key);
        let Some(client) = &self.client else { return };
        match deletions(client).and_then(|deletions| discard(client, &deletions, key, field)) {
            Ok(undoing) => self.done(Done::Discarded, key, title, vec![undoing]),
            Err(error) => self.not_done(&error),
        }
    }

    /// Discards many, each for itself: what is being sent by now stays.
    pub(super) fn discard_all(&self, keys: BTreeSet<RowKey>) {
        let Some(first) = keys.first().copied() else { return };
        let title = format!("{} …", self.title(first));
        self.beside(
            move |job| {
                let mut discarded = Vec::new();
                let deletions = match deletions(&job.client) {
                    Ok(deletions) => deletions,
                    Err(error) => return (discarded, Some(error)),
                };
                let mut failed = None;
                for key in keys {
                    match discard(&job.client, &deletions, key, None) {
                        Ok(undoing) => discarded.push(undoing),
                        // It went with another one of its group.
                        Err(ClientError::Local(LocalError::NothingPending)) => {}
                        Err(error) => failed = failed.or(Some(error)),
                    }
                }
                (discarded, failed)
            },
            move |worker, (discarded, failed)| {
                if !discarded.is_empty() {
                    worker.done(Done::DiscardedAll(discarded.len()), first, title, discarded);
                }
                if let Some(error) = failed {
                    worker.not_done(&error);
                }
            },
        );
    }

    fn done(&mut self, done: Done, key: RowKey, title: String, undoing: Vec<Undoing>) {
        let undo = Some(self.keep_undo(key, &title, undoing));
        self.tell(Tell::Done { done, title, undo, key });
    }

    fn keep_undo(&mut self, key: RowKey, title: &str, what: Vec<Undoing>) -> u64 {
        self.shown.next_undo += 1;
        let id = self.shown.next_undo;
        self.shown.undo.push_back(Undo { id, key, title: title.to_owned(), what });
        if self.shown.undo.len() > UNDO_MAX {
            self.shown.undo.pop_front();
        }
        id
    }

    pub(super) fn undo(&mut self, id: u64) {
        let Some(at) = self.shown.undo.iter().position(|undo| undo.id == id) else {
            return self.tell(Tell::NotDone(Failed::TooLate));
        };
        let Some(Undo { key, title, what, .. }) = self.shown.undo.remove(at) else { return };
        let count = what.len();
        self.beside(
            // What was discarded last comes first; what can be put back is, also where something else came to one of them.
            move |job| what.into_iter().rev().filter_map(|what| undo(&job.client, what).err()).collect::<Vec<ClientError>>(),
            move |worker, failed| {
                let told = |done| Tell::Done { done, title, undo: None, key };
                worker.tell(match failed.first() {
                    None => told(Done::Undone),
                    Some(_) if failed.len() < count => told(Done::UndoneBut(failed.len())),
                    Some(ClientError::Local(LocalError::TooLate)) => Tell::NotDone(Failed::TooLate),
                    Some(error) => Tell::NotDone(why_not(error)),
                });
            },
        );
    }

    fn not_done(&self, error: &ClientError) {
        self.tell(Tell::NotDone(why_not(error)));
    }

    pub(super) fn send_again(&mut self, key: RowKey) {
        let title = self.title(key);
        let Some(client) = &self.client else { return };
        match client.resolve(key, None, Resolution::AllMine) {
            Ok(()) => self.tell(Tell::Done { done: Done::SentAgain, title, undo: None, key }),
            Err(error) => self.not_done(&error),
        }
    }

    pub(super) fn resolve(&mut self, shown: ConflictView, resolution: &Resolution) {
        let key = shown.key;
        let title = self.title(key);
        let Some(client) = &self.client else { return };
        match client.resolve(key, Some(shown), resolution.clone()) {
            Ok(()) => self.tell(Tell::Done { done: Done::Decided, title, undo: None, key }),
            Err(error) => self.tell(Tell::NotDecided((&error).into())),
        }
        self.stale.rows.push(key);
    }

    fn title(&self, key: RowKey) -> String {
        self.with(|client| client.title_of(key)).unwrap_or_default()
    }

    // ---- files ----

    pub(super) fn export(&mut self, folder: PathBuf) {
        if self.exporting.as_ref().is_some_and(|exporting| !exporting.is_finished()) {
            // Pressed twice.
            return;
        }
        self.exporting = self.beside(
            move |job| export_all(&job.client, &folder).map(|(count, place)| (count, place.display().to_string())),
            |worker, exported| worker.tell(Tell::Exported(exported)),
        );
    }

    pub(super) fn preview(&self, table: TableTag, file: PathBuf) {
        self.beside(
            move |job| (preview(&job.client, table, &file), file),
            move |worker, (result, file)| worker.tell(Tell::Preview { table, file, result }),
        );
    }

    pub(super) fn import(&self, table: TableTag, file: PathBuf) {
        let begun =
            self.beside(move |job| import(&job.client, table, &file), |worker, imported| worker.tell(Tell::Imported(imported)));
        if begun.is_none() {
            // Its dialog waits no longer.
            self.tell(Tell::Imported(Err(Trouble::Other("the import could not be begun".to_owned()))));
        }
    }
}

fn why_not(error: &ClientError) -> Failed {
    match error {
        ClientError::Local(LocalError::InFlight) => Failed::InFlight,
        error => Failed::Trouble(error.into()),
    }
}

/// Where the page begins that has the change behind so many in it; where there is none any more, the last page.
fn page_at(passed: usize, count: usize) -> usize {
    let last = count.saturating_sub(1);
    passed.min(last) / PENDING_SHOWN_MAX * PENDING_SHOWN_MAX
}

fn row_news(client: &Client, key: RowKey) -> Result<RowNews, ClientError> {
    let view: Option<RowView> = client.get(key)?;
    let pending = client.pending_of(key)?;
    let title = client.title_of(key)?;
    let left = view.is_none() && client.life(key)?.is_none();
    let shown = view.iter().flat_map(|view| &view.values).map(|(field, value)| (key.table, *field, value.clone()));
    let values = shown.chain(pending.iter().flat_map(|change| edited(key.table, change)));
    let names = names(client, values)?;
    Ok(RowNews { key, view, left, pending, title, names })
}

/// A value in a field of a table.
pub(super) type FieldValue = (TableTag, FieldTag, Value);

/// Values of a change, and what they were before.
fn edited(table: TableTag, change: &Pending) -> Vec<FieldValue> {
    let of = |(field, edit): (&FieldTag, &Edit)| {
        let values = [Some(edit.value.clone()), edit.base_value.clone()];
        values.into_iter().flatten().map(|value| (table, *field, value)).collect::<Vec<_>>()
    };
    change.fields.iter().flat_map(of).collect()
}

/// What the rows are called that values point at.
pub(super) fn names(client: &Client, values: impl IntoIterator<Item = FieldValue>) -> Result<Names, ClientError> {
    let schema = client.schema()?;
    let key = |(table, field, value)| target(schema.table(table)?.field(field)?, &value);
    let keys: Vec<RowKey> = values.into_iter().filter_map(key).collect::<BTreeSet<RowKey>>().into_iter().collect();
    Ok(keys.iter().copied().zip(client.titles(keys.clone())?).collect())
}

fn trouble(error: ClientError) -> Trouble {
    (&error).into()
}

fn table_name(client: &Client, table: TableTag) -> Result<String, Trouble> {
    let schema = client.schema().map_err(trouble)?;
    schema.table(table).map(|table| table.name.clone()).ok_or_else(|| trouble(LocalError::UnknownTable.into()))
}

fn read(file: &Path) -> Result<Vec<u8>, Trouble> {
    std::fs::read(file).map_err(|error| Trouble::with_file(file, &error))
}

fn preview(client: &Client, table: TableTag, file: &Path) -> Result<Import, Trouble> {
    let text = read(file)?;
    let name = table_name(client, table)?;
    let preview = csv::preview(client, &name, &text).map_err(trouble)?;
    Ok(Import {
        columns: preview.columns,
        problems: preview.problems,
        sample: preview.sample.iter().map(|row| row.join(", ")).collect(),
        created: preview.imported.created,
        updated: preview.imported.updated,
    })
}

/// Rows whose deletion is pending by itself and not being sent.
fn deletions(client: &Client) -> Result<BTreeSet<RowKey>, ClientError> {
    let is_deletion =
        |view: &PendingView| view.change.op == Op::Delete && view.change.group.is_none() && view.standing != Standing::InFlight;
    Ok(client.pending()?.iter().filter(|view| is_deletion(view)).map(|view| view.key).collect())
}

/// Discards what is pending of a row. A deletion is taken back, so that edits which it swallowed are there again.
fn discard(
    client: &Client,
    deletions: &BTreeSet<RowKey>,
    key: RowKey,
    field: Option<FieldTag>,
) -> Result<Undoing, ClientError> {
    if field.is_none() && deletions.contains(&key) {
        let restore = LocalWrite { key, write: Write::Restore, seen: None };
        return client.transaction(vec![restore], false).map(|()| Undoing::DeleteAgain(key));
    }
    client.discard(key, field).map(Undoing::PutBack)
}

fn undo(client: &Client, what: Undoing) -> Result<(), ClientError> {
    match what {
        Undoing::PutBack(before) => client.put_back(before),
        Undoing::DeleteAgain(key) => {
            let view = client.get(key)?.ok_or(LocalError::TooLate)?;
            client.transaction(vec![LocalWrite { key, write: Write::Delete, seen: Some(view.seen) }], false)
        }
    }
}

fn import(client: &Client, table: TableTag, file: &Path) -> Result<Result<usize, Problems>, Trouble> {
    let text = read(file)?;
    let name = table_name(client, table)?;
    match csv::import(client, &name, &text, &[]) {
        Ok(imported) => Ok(Ok(imported.created + imported.updated)),
        Err(ImportError::Problems(problems)) => Ok(Err(problems)),
        Err(ImportError::Client(error)) => Err(trouble(error)),
        Err(error) => Err(Trouble::Other(error.to_string())),
    }
}

/// Every table as a file of its own. Nothing that is there already is replaced: a folder with something in it gets a new one.
fn export_all(client: &Client, folder: &Path) -> Result<(usize, PathBuf), Trouble> {
    let is_empty = std::fs::read_dir(folder).map_or(true, |mut found| found.next().is_none());
    let now = jiff::Zoned::now().strftime("%Y-%m-%d %H.%M.%S").to_string();
    let folder = if is_empty { folder.to_owned() } else { folder.join(now) };
    std::fs::create_dir_all(&folder).map_err(|error| Trouble::with_file(&folder, &error))?;
    let schema = client.schema().map_err(trouble)?;
    for table in &schema.tables {
        let file = folder.join(format!("{}.csv", table.name));
        let failed = |error: std::io::Error| Trouble::with_file(&file, &error);
        let rows = client.list(table.tag, Query::default()).map_err(trouble)?;
        let out = BufWriter::new(File::create_new(&file).map_err(failed)?);
        let values: Vec<_> = rows.iter().map(|row| (row.key.id, move |field: FieldTag| row.value(field).clone())).collect();
        let rows = values.iter().map(|(id, value)| (*id, value as &dyn Fn(FieldTag) -> _));
        csv::export(table, rows, out).map_err(failed)?;
    }
    Ok((schema.tables.len(), folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_pending_changes_begin_where_there_is_something_to_show() {
        for (passed, count, at) in
            [(0, 0, 0), (100, 0, 0), (0, 1, 0), (100, 100, 0), (100, 101, 100), (199, 250, 100), (900, 250, 200)]
        {
            assert_eq!(page_at(passed, count), at, "{passed} of {count}");
        }
    }
}
