//! Settings, export and import.

use super::form::{language, wrong};
use super::{App, handler, handler1, int, model};
use crate::desk::{Ask, Import, PathFor, Trouble};
use crate::presenters::values::{Language, Locale, Wrong as Fault, unread};
use crate::window::{FileProblem, Import as ImportWindow, Mistake, Settings as SettingsWindow, Shell, Theme, ThemeMode, Words};
use slint::{ModelRc, SharedString};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tombolo_client::csv::{self, Problem, Problems, Spot, TitleError};
use tombolo_client::protocol::ids::TableTag;
use tombolo_client::protocol::schema::{FieldProblem, Schema, Table, ValueError};

/// The modes in the order in which they are offered, as the settings number them: manual, metered, automatic.
pub(super) const MODES: [u8; 3] = [0, 2, 1];

/// What a cell of yes or no may hold, in every language.
const YES_AND_NO: &str = "yes, no, true, false, 1, 0";
/// Characters of a cell that are shown where it is wrong.
const CELL_CHARS_MAX: usize = 40;

/// The licences of all that others wrote, written by the program `licences`.
const LICENCE_TEXTS: &str = include_str!("../../licences.txt");

impl App {
    pub(super) fn bind_files(self: &Rc<Self>) {
        let settings = self.get::<SettingsWindow>();
        settings.set_version(env!("CARGO_PKG_VERSION").into());
        settings.on_open_licences(handler(self, |app| {
            let lines = LICENCE_TEXTS.lines().map(SharedString::from).collect();
            app.get::<SettingsWindow>().set_licence_lines(model(lines));
            app.get::<Shell>().set_licences_open(true);
        }));
        settings.on_close_licences(handler(self, |app| {
            app.get::<Shell>().set_licences_open(false);
            app.get::<SettingsWindow>().set_licence_lines(ModelRc::default());
        }));
        settings.on_changed(handler(self, |app| app.settings_changed()));
        settings.on_choose_folder(handler1(self, |app, title: SharedString| app.choose_path(PathFor::Export, &title)));
        settings.on_export(handler(self, |app| {
            let folder = app.get::<SettingsWindow>().get_export_to();
            if folder.trim().is_empty() {
                app.state.borrow_mut().leaving = false;
                return app.toast(app.get::<Words>().invoke_nothing_chosen(), None, true);
            }
            app.ask(Ask::Export(PathBuf::from(folder.trim())));
        }));
        self.get::<Shell>().on_open_import(handler(self, |app| {
            if !app.state.borrow().may_write() {
                return;
            }
            let label = app.get::<crate::window::Browse>().get_table_title();
            app.clear_import();
            app.get::<ImportWindow>().set_table(label);
            app.get::<Shell>().set_import_open(true);
        }));
        let import = self.get::<ImportWindow>();
        import.on_choose(handler1(self, |app, title: SharedString| app.choose_path(PathFor::Import, &title)));
        import.on_look(handler1(self, |app, file: SharedString| {
            app.clear_import();
            let table = app.state.borrow().table;
            if let Some(table) = table {
                let file = PathBuf::from(file.trim());
                app.state.borrow_mut().looked_at = Some((table, file.clone()));
                app.ask(Ask::Preview { table, file });
            }
        }));
        import.on_changed(handler(self, |app| app.clear_import()));
        import.on_run(handler(self, |app| {
            let import = app.get::<ImportWindow>();
            // Only what was looked at.
            let looked_at = app.state.borrow().looked_at.clone();
            if let Some((table, file)) = looked_at.filter(|_| !import.get_busy()) {
                import.set_busy(true);
                app.ask(Ask::Import { table, file });
            }
        }));
        import.on_cancel(handler(self, |app| {
            // What becomes of an import is said here.
            let is_open = app.get::<ImportWindow>().get_busy();
            app.get::<Shell>().set_import_open(is_open);
        }));
    }

    // ---- settings ----

    /// Puts what was chosen earlier into the window.
    pub(super) fn apply_settings(self: &Rc<Self>) {
        let chosen = self.state.borrow().settings.clone();
        // English is not translated to, so that there is nothing to select.
        let _ =
            slint::select_bundled_translation(if chosen.language == Language::English { "" } else { chosen.language.code() });
        let language = chosen.language;
        self.get::<Words>().on_grouped(move |count| language.count(super::at(count)).into());
        let theme = self.get::<Theme>();
        theme.set_mode([ThemeMode::System, ThemeMode::Light, ThemeMode::Dark][usize::from(chosen.theme.min(2))]);
        theme.set_scale(chosen.scale());
        let settings = self.get::<SettingsWindow>();
        let at = Language::ALL.iter().position(|language| *language == chosen.language).unwrap_or_default();
        settings.set_language(int(at));
        settings.set_theme(i32::from(chosen.theme));
        settings.set_text_size(i32::from(chosen.text_size));
        settings.set_conflict_default(i32::from(chosen.conflict_default));
        let at = MODES.iter().position(|mode| *mode == chosen.mode).unwrap_or_default();
        self.get::<Shell>().set_mode(int(at));
    }

    fn settings_changed(self: &Rc<Self>) {
        let window = self.get::<SettingsWindow>();
        let byte = |value: i32| u8::try_from(value).unwrap_or_default();
        {
            let mut state = self.state.borrow_mut();
            state.settings.language = language(super::at(window.get_language()));
            state.settings.theme = byte(window.get_theme());
            state.settings.text_size = byte(window.get_text_size());
            state.settings.conflict_default = byte(window.get_conflict_default());
        }
        self.apply_settings();
        self.keep_settings();
        self.show_table_head();
        // What Rust made of values is made again in the new language.
        self.ask(Ask::Retry);
    }

    pub(super) fn keep_settings(self: &Rc<Self>) {
        if !self.has_begun.get() {
            return;
        }
        let (settings, folder) = (self.state.borrow().settings.clone(), self.data.clone());
        if self.desk.borrow().is_some() {
            return self.ask(Ask::Keep(Box::new(settings), folder));
        }
        // Before anybody has signed in nothing is lost where it cannot be kept.
        let _ = std::thread::Builder::new().name("tombolo-settings".to_owned()).spawn(move || settings.write(&folder));
    }

    // ---- files ----

    pub(super) fn exported(self: &Rc<Self>, result: Result<(usize, String), Trouble>) {
        let words = self.get::<Words>();
        let leaves = std::mem::take(&mut self.state.borrow_mut().leaving);
        let (text, error) = match result {
            Ok((count, place)) => {
                self.get::<Shell>().set_sign_out_exported(leaves);
                self.get::<Shell>().set_sign_out_open(leaves);
                (words.invoke_exported(int(count), place.into()), false)
            }
            Err(why) => (words.invoke_not_done(self.in_words(&why)), true),
        };
        self.get::<SettingsWindow>().set_exported(text.clone());
        self.toast(text, None, error);
    }

    pub(super) fn clear_import(&self) {
        self.state.borrow_mut().looked_at = None;
        let import = self.get::<ImportWindow>();
        import.set_columns(model(Vec::new()));
        import.set_problems(model(Vec::new()));
        import.set_more_problems(0);
        import.set_sample(model(Vec::new()));
        import.set_trouble("".into());
        import.set_ready(false);
        import.set_looked(false);
        import.set_created(0);
        import.set_updated(0);
    }

    pub(super) fn previewed(self: &Rc<Self>, table: TableTag, file: &Path, result: Result<Import, Trouble>) {
        let is_of = |looked_at: &(TableTag, PathBuf)| looked_at.0 == table && looked_at.1 == file;
        if !self.state.borrow().looked_at.as_ref().is_some_and(is_of) {
            return;
        }
        let import = self.get::<ImportWindow>();
        match result {
            Err(why) => import.set_trouble(self.in_words(&why)),
            Ok(preview) => {
                let columns = preview.columns.into_iter().map(|(header, label)| match label {
                    Some(label) => SharedString::from(format!("{header}  →  {label}")),
                    None => header.into(),
                });
                let lines = |lines: Vec<String>| model(lines.into_iter().map(SharedString::from).collect());
                import.set_columns(model(columns.collect()));
                import.set_ready(preview.problems.is_empty() && preview.created + preview.updated > 0);
                self.show_problems(&preview.problems);
                import.set_sample(lines(preview.sample));
                import.set_created(int(preview.created));
                import.set_updated(int(preview.updated));
                import.set_looked(true);
            }
        }
    }

    fn show_problems(&self, problems: &Problems) {
        let (told, more) = problems.told();
        let problems = {
            let state = self.state.borrow();
            let table = state.schema.as_deref().and_then(|schema| Some((schema, schema.table(state.table?)?)));
            let locale = state.locale();
            told.iter().filter_map(|problem| Some(file_problem(table?.0, table?.1, &locale, problem))).collect()
        };
        let import = self.get::<ImportWindow>();
        import.set_problems(model(problems));
        import.set_more_problems(int(more));
    }

    pub(super) fn imported(self: &Rc<Self>, result: Result<Result<usize, Problems>, Trouble>) {
        self.get::<ImportWindow>().set_busy(false);
        match result {
            Err(why) => self.get::<ImportWindow>().set_trouble(self.in_words(&why)),
            // The file, or what is on the device, has changed since it was looked at.
            Ok(Err(problems)) => {
                self.get::<ImportWindow>().set_ready(false);
                self.show_problems(&problems);
            }
            Ok(Ok(rows)) => {
                self.get::<Shell>().set_import_open(false);
                self.toast(self.get::<Words>().invoke_imported(int(rows)), None, false);
            }
        }
    }
}

/// The beginning of what stands in a cell.
fn short(text: &str) -> String {
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What is wrong with a file, as the window puts it into words.
fn file_problem(schema: &Schema, table: &Table, locale: &Locale, problem: &Problem) -> FileProblem {
    let (line, column) = match &problem.spot {
        Spot::Line(line) => (*line, ""),
        Spot::Cell { line, column } => (*line, column.as_str()),
        Spot::Column(column) | Spot::ForAll { field: column } => (0, column.as_str()),
    };
    let field = table.field_named(column);
    let of = |mistake: Mistake, text: &dyn ToString, more: &dyn ToString| FileProblem {
        line: int(line),
        column: field.map_or(column, |field| field.label.as_str()).into(),
        mistake,
        text: short(&text.to_string()).into(),
        more: more.to_string().into(),
        wrong: wrong(None),
    };
    let plain = |mistake| of(mistake, &"", &"");
    let unfit = |text: &str, fault| FileProblem { wrong: wrong(Some(fault)), ..of(Mistake::Value, &text, &"") };
    let called = |name: &str| schema.table_named(name).map_or_else(|| name.to_owned(), |table| table.label.clone());
    match &problem.mistake {
        csv::Mistake::Empty => plain(Mistake::Empty),
        csv::Mistake::UnknownColumn { semicolons: true, .. } => plain(Mistake::Semicolons),
        csv::Mistake::UnknownColumn { .. } => {
            let names: Vec<&str> = table.fields.iter().map(|field| field.name.as_str()).collect();
            of(Mistake::UnknownColumn, &"", &names.join(", "))
        }
        csv::Mistake::ColumnTwice => plain(Mistake::ColumnTwice),
        csv::Mistake::Cells { cells, columns } => of(Mistake::Cells, cells, columns),
        csv::Mistake::NotUtf8 => plain(Mistake::NotText),
        csv::Mistake::NotAnId(text) => of(Mistake::NotAnId, text, &""),
        csv::Mistake::IdTwice(line) => of(Mistake::IdTwice, line, &""),
        csv::Mistake::Deleted => plain(Mistake::Deleted),
        csv::Mistake::Missing { .. } => unfit("", Fault::Required),
        csv::Mistake::Unreadable { text, error: ValueError::NotABool(_) } => of(Mistake::NotOneOf, text, &YES_AND_NO),
        csv::Mistake::Unreadable { text, error } => unfit(text, unread(error)),
        csv::Mistake::Unfit { problem: FieldProblem::NotAChoice, text, .. } => {
            of(Mistake::NotOneOf, text, &field.map(|field| field.choices.join(", ")).unwrap_or_default())
        }
        csv::Mistake::Unfit { problem, text, explained, .. } => match field {
            Some(field) => unfit(text, locale.wrong(field, *problem)),
            None => of(Mistake::Other, explained, &""),
        },
        csv::Mistake::Reference(TitleError::Nobody { table, text }) => of(Mistake::Nobody, text, &called(table)),
        csv::Mistake::Reference(TitleError::Several { table, text, .. }) => of(Mistake::Several, text, &called(table)),
        csv::Mistake::NotUnique { rows, value } => of(Mistake::NotUnique, value, rows),
        other => of(Mistake::Other, other, &""),
    }
}
