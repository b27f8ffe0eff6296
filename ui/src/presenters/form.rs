//! A form for one row of any table, made of the schema.
//!
//! A form writes only what the person changed in it, on the base of what they saw when it was opened (rule O2): a field that
//! somebody else changed meanwhile is asked about, and never overwritten in silence.

use super::partners;
use super::values::{Locale, Names, Wrong};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_client::LocalWrite;
use tombolo_client::protocol::ids::{FieldTag, RowId, RowKey, TableTag};
use tombolo_client::protocol::outbox::{Seen, Write};
use tombolo_client::protocol::schema::{Field, Kind, Schema, Table};
use tombolo_client::protocol::value::Value;
use tombolo_client::view::RowView;

/// How a field is edited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Editor {
    /// One line of text.
    Line,
    /// Several lines.
    Lines,
    /// A number.
    Number,
    /// A day.
    Date,
    /// A moment.
    Moment,
    /// One of the choices.
    Choice,
    /// Yes, no, or not known.
    Flag,
    /// A row of this table.
    Reference(TableTag),
    /// Not here: ids and bytes.
    Fixed,
}

/// What stands in a field.
#[derive(Clone, PartialEq, Debug)]
enum Input {
    Text(String),
    Value(Value),
}

/// A field of a form.
#[derive(Clone, Debug)]
pub struct FormField {
    /// The field in the schema.
    pub field: Field,
    /// How it is edited.
    pub editor: Editor,
    input: Input,
    original: Value,
    /// What the row that is referred to is called.
    pub title: String,
    /// It was left once, so that what is wrong is said.
    left: bool,
    /// What it became by somebody else while the form was open: taken over where nothing was typed, told of where something was.
    pub news: Option<Value>,
    /// The other members of its group, for people.
    pub group: String,
}

impl FormField {
    fn new(table: &Table, field: &Field, value: &Value, title: String, locale: &Locale) -> Self {
        let editor = editor_of(field);
        Self {
            field: field.clone(),
            editor,
            input: input_of(field, editor, value, locale),
            original: value.clone(),
            title,
            left: false,
            news: None,
            group: partners(table, field),
        }
    }

    /// The field as the schema has it now, with what stands in it.
    fn under(self, table: &Table, field: &Field, locale: &Locale) -> Self {
        let editor = editor_of(field);
        let typed = matches!(editor, Editor::Line | Editor::Lines | Editor::Number | Editor::Date | Editor::Moment);
        let input = match self.input {
            Input::Value(value) if typed => input_of(field, editor, &value, locale),
            // Only texts are typed here and chosen there.
            Input::Text(text) if !typed && text.is_empty() => Input::Value(Value::Null),
            Input::Text(text) if !typed => Input::Value(Value::text(&text)),
            same => same,
        };
        Self { field: field.clone(), editor, input, group: partners(table, field), ..self }
    }

    /// Takes over what it is now, as if the form had been opened with it.
    fn take(&mut self, now: &Value, title: String, locale: &Locale) {
        self.input = input_of(&self.field, self.editor, now, locale);
        self.original = now.clone();
        self.title = title;
        self.left = false;
    }

    /// What stands in it, as text.
    pub fn text(&self, locale: &Locale) -> String {
        match &self.input {
            Input::Text(text) => text.clone(),
            Input::Value(_) if matches!(self.editor, Editor::Reference(_)) => self.title.clone(),
            Input::Value(value) => locale.show(&self.field, value),
        }
    }

    /// Yes, no, or neither.
    pub fn flag(&self) -> Option<bool> {
        match self.input {
            Input::Value(Value::Bool(yes)) => Some(yes),
            _ => None,
        }
    }

    /// Which of the choices.
    pub fn choice(&self) -> Option<usize> {
        match &self.input {
            Input::Value(Value::Text(text)) => self.field.choices.iter().position(|choice| choice == text),
            _ => None,
        }
    }

    /// The value that stands in it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn value(&self, locale: &Locale) -> Result<Value, Wrong> {
        match &self.input {
            // What is shown may be less than what is there: seconds of a moment, space around a text.
            Input::Text(_) if self.untouched(locale) => {
                locale.check(&self.field, &self.original).map(|()| self.original.clone())
            }
            Input::Text(text) => locale.read(&self.field, text),
            Input::Value(value) if self.editor == Editor::Fixed => Ok(value.clone()),
            Input::Value(value) => locale.check(&self.field, value).map(|()| value.clone()),
        }
    }

    fn untouched(&self, locale: &Locale) -> bool {
        self.input == input_of(&self.field, self.editor, &self.original, locale)
    }

    /// Whether something else stands in it than at first.
    pub fn dirty(&self, locale: &Locale) -> bool {
        // What cannot be read is not what was there.
        !self.untouched(locale) && self.value(locale).map_or(true, |value| value != self.original)
    }

    /// Remembers what it became by somebody else.
    fn tell(&mut self, now: &Value) {
        if *now != self.original {
            self.news = Some(now.clone());
        } else if self.news.as_ref() != Some(now) {
            self.news = None;
        }
    }

    /// What is wrong, once it may be said.
    pub fn wrong(&self, locale: &Locale) -> Option<Wrong> {
        if self.left { self.value(locale).err() } else { None }
    }
}

/// How a field is edited.
pub fn editor_of(field: &Field) -> Editor {
    match field.kind {
        _ if !field.choices.is_empty() => Editor::Choice,
        Kind::Bool => Editor::Flag,
        Kind::Int | Kind::Float | Kind::Decimal { .. } => Editor::Number,
        Kind::Text if field.multiline => Editor::Lines,
        Kind::Text => Editor::Line,
        Kind::Date => Editor::Date,
        Kind::Timestamp { .. } => Editor::Moment,
        Kind::Uuid => field.reference.map_or(Editor::Fixed, |reference| Editor::Reference(reference.table)),
        Kind::Bytes => Editor::Fixed,
    }
}

fn input_of(field: &Field, editor: Editor, value: &Value, locale: &Locale) -> Input {
    match editor {
        Editor::Line | Editor::Lines => Input::Text(field.show(value)),
        Editor::Number | Editor::Date | Editor::Moment => Input::Text(locale.show(field, value)),
        Editor::Choice | Editor::Flag | Editor::Reference(_) | Editor::Fixed => Input::Value(value.clone()),
    }
}

/// A form.
#[derive(Clone, Debug)]
pub struct Form {
    /// The row.
    pub key: RowKey,
    /// It makes a row.
    pub new: bool,
    /// The row was deleted while the form was open.
    pub gone: bool,
    /// Its fields, in the order of the schema.
    pub fields: Vec<FormField>,
    seen: Option<Seen>,
    /// The fields that are decided together, for each field.
    units: BTreeMap<FieldTag, Vec<FieldTag>>,
    locale: Locale,
}

fn units_of(table: &Table) -> BTreeMap<FieldTag, Vec<FieldTag>> {
    table.fields.iter().map(|field| (field.tag, table.unit(&field.tag).to_vec())).collect()
}

/// What the person sees after a refresh: all of `now` where nothing was typed; else of the fields that are taken over what they
/// are now, and of the others, and of the row as such, no more than before.
fn seen_now(before: Option<&Seen>, now: &Seen, nothing_typed: bool, taken: &impl Fn(&FieldTag) -> bool) -> Option<Seen> {
    if nothing_typed {
        return Some(now.clone());
    }
    let before = before?;
    let mut values = before.values.clone()?;
    let newer = now.values.as_ref()?;
    values.retain(|field, _| !taken(field));
    values.extend(newer.iter().filter(|(field, _)| taken(field)).map(|(field, value)| (*field, value.clone())));
    let seq = before.seq.min(now.seq);
    Some(Seen { seq, values: Some(values), ..before.clone() })
}

impl Form {
    /// A form for a new row. Fields have their defaults; `preset` gives some a value.
    pub fn create(table: &Table, id: RowId, preset: &[(FieldTag, Value, String)], locale: Locale) -> Self {
        let fields = table.fields.iter().map(|field| {
            let given = preset.iter().find(|(tag, ..)| *tag == field.tag);
            let value = given.map(|(_, value, _)| value.clone()).or_else(|| field.default.clone()).unwrap_or_default();
            let title = given.map(|(.., title)| title.clone()).unwrap_or_default();
            FormField::new(table, field, &value, title, &locale)
        });
        let key = RowKey { table: table.tag, id };
        Self { key, new: true, gone: false, fields: fields.collect(), seen: None, units: units_of(table), locale }
    }

    /// A form for a row that is there, as the person sees it.
    pub fn edit(table: &Table, view: &RowView, names: &Names, locale: Locale) -> Self {
        let of_row = |field: &Field| {
            let value = view.value(field.tag);
            let title = names.of(field, value).unwrap_or_default().to_owned();
            FormField::new(table, field, value, title, &locale)
        };
        let fields = table.fields.iter().map(of_row).collect();
        Self { key: view.key, new: false, gone: false, fields, seen: Some(view.seen.clone()), units: units_of(table), locale }
    }

    /// What stands in a field was typed anew.
    pub fn type_in(&mut self, at: usize, text: &str) {
        if let Some(field) = self.fields.get_mut(at) {
            field.input = Input::Text(text.to_owned());
        }
    }

    /// Yes, no, or not known.
    pub fn set_flag(&mut self, at: usize, yes: Option<bool>) {
        self.set(at, yes.map_or(Value::Null, Value::Bool));
    }

    /// One of the choices, or none.
    pub fn set_choice(&mut self, at: usize, choice: Option<usize>) {
        let Some(field) = self.fields.get(at) else { return };
        let text = choice.and_then(|choice| field.field.choices.get(choice));
        self.set(at, text.map_or(Value::Null, |text| Value::text(text)));
    }

    /// The row that a reference points at.
    pub fn set_reference(&mut self, at: usize, target: Option<(RowId, String)>) {
        let value = target.as_ref().map_or(Value::Null, |(id, _)| Value::Uuid(*id.bytes()));
        if let Some(field) = self.fields.get_mut(at) {
            field.title = target.map(|(_, title)| title).unwrap_or_default();
        }
        self.set(at, value);
    }

    fn set(&mut self, at: usize, value: Value) {
        if let Some(field) = self.fields.get_mut(at) {
            field.input = Input::Value(value);
            // There is nothing half typed in a choice.
            field.left = true;
        }
    }

    /// The person left a field: what is wrong may be said from now on.
    pub fn leave(&mut self, at: usize) {
        if let Some(field) = self.fields.get_mut(at) {
            field.left = field.left || field.dirty(&self.locale) || field.field.required;
        }
    }

    /// Whether something would be lost by closing it.
    pub fn dirty(&self) -> bool {
        self.fields.iter().any(|field| field.dirty(&self.locale))
    }

    /// Fields that cannot be saved as they stand. All of them are said to be wrong from now on.
    pub fn faults(&mut self) -> Vec<usize> {
        self.fields.iter_mut().for_each(|field| field.left = true);
        let locale = &self.locale;
        let wrong = |(_, field): &(usize, &FormField)| (self.new || field.dirty(locale)) && field.value(locale).is_err();
        self.fields.iter().enumerate().filter(wrong).map(|(at, _)| at).collect()
    }

    /// What is to be written, in one transaction: nothing where nothing was changed, or something is wrong. A row that was
    /// deleted meanwhile is brought back first: the person was told of it.
    pub fn writes(&self) -> Vec<LocalWrite> {
        let mut values = BTreeMap::new();
        for field in self.fields.iter().filter(|field| self.new || field.dirty(&self.locale)) {
            let Ok(value) = field.value(&self.locale) else { return Vec::new() };
            values.insert(field.field.tag, value);
        }
        let write = |write, seen| LocalWrite { key: self.key, write, seen };
        if self.new {
            values.retain(|_, value| !value.is_null());
            vec![write(Write::Create(values), None)]
        } else if values.is_empty() {
            Vec::new()
        } else if self.gone {
            vec![write(Write::Restore, None), write(Write::Update(values), None)]
        } else {
            vec![write(Write::Update(values), self.seen.clone())]
        }
    }

    /// Whether nothing else is to be written than this.
    pub fn writes_only(&self, written: &[LocalWrite]) -> bool {
        self.writes().iter().map(|now| &now.write).eq(written.iter().map(|written| &written.write))
    }

    /// What was to be written is on the device now. What was typed since stands in the form, and is not saved: from now on it is an
    /// edit of that row, on the base that it had.
    pub fn saved(&mut self, written: &[LocalWrite]) {
        for write in written {
            let (values, whole) = match &write.write {
                Write::Create(values) => (values, true),
                Write::Update(values) => (values, false),
                Write::Delete | Write::Restore => continue,
            };
            for field in &mut self.fields {
                // A new row has nothing where nothing was written.
                if let Some(value) = values.get(&field.field.tag).or(whole.then_some(&Value::Null)) {
                    field.original = value.clone();
                    field.news = None;
                }
            }
        }
        (self.new, self.gone) = (false, false);
    }

    /// The tables changed: fields that came appear, those that went disappear, and what was typed stays. Returns the labels of
    /// fields that went with something typed in them.
    pub fn schema_changed(&mut self, schema: &Schema) -> Vec<String> {
        let Some(table) = schema.table(self.key.table) else {
            self.gone = true;
            return Vec::new();
        };
        let mut old = std::mem::take(&mut self.fields);
        for field in &table.fields {
            let before = old.iter().position(|before| before.field.tag == field.tag).map(|at| old.remove(at));
            self.fields.push(match before {
                Some(before) => before.under(table, field, &self.locale),
                None => {
                    let value = field.default.clone().filter(|_| self.new).unwrap_or_default();
                    FormField::new(table, field, &value, String::new(), &self.locale)
                }
            });
        }
        self.units = units_of(table);
        old.into_iter().filter(|field| field.dirty(&self.locale)).map(|field| field.field.label).collect()
    }

    /// The row changed, or was deleted, while the form was open. Nothing that was typed is touched; fields in whose group nothing
    /// was typed show what they are now.
    ///
    /// The base of what was typed stays what the person saw when they typed it, so that what others changed there is asked about
    /// (O2). The base of what is shown anew is what is shown.
    pub fn refresh(&mut self, view: Option<&RowView>, names: &Names) {
        if self.new {
            return;
        }
        self.gone = view.is_none();
        let Some(view) = view else { return };
        // A row that this form has just made is seen for the first time.
        self.seen.get_or_insert_with(|| view.seen.clone());
        let typed: BTreeSet<FieldTag> =
            self.fields.iter().filter(|field| field.dirty(&self.locale)).map(|field| field.field.tag).collect();
        let taken = |tag: &FieldTag| !self.units.get(tag).into_iter().flatten().any(|member| typed.contains(member));
        // Without the values that were shown there is only one base for all fields.
        let Some(seen) = seen_now(self.seen.as_ref(), &view.seen, typed.is_empty(), &taken) else {
            self.fields.iter_mut().for_each(|field| field.tell(view.value(field.field.tag)));
            return;
        };
        self.seen = Some(seen);
        for field in &mut self.fields {
            let now = view.value(field.field.tag);
            let take = *now != field.original && taken(&field.field.tag);
            field.tell(now);
            if take {
                let title = names.of(&field.field, now).unwrap_or_default().to_owned();
                field.take(now, title, &self.locale);
            }
        }
    }

    /// How values are shown and read.
    pub fn locale(&self) -> &Locale {
        &self.locale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presenters::values::Language;
    use jiff::tz::TimeZone;
    use tombolo_client::listing::target;
    use tombolo_client::protocol::ids::{RowNo, Seq, Version};
    use tombolo_client::protocol::outbox::{self, Entry};
    use tombolo_client::protocol::row::{Life, Row, Stamped};
    use tombolo_client::protocol::schema::CLINIC;
    use tombolo_client::view::RowStanding;

    fn locale() -> Locale {
        Locale { language: Language::English, zone: TimeZone::UTC }
    }

    fn schema() -> Schema {
        Schema::parse(CLINIC).unwrap()
    }

    fn id() -> RowId {
        RowId(uuid::Uuid::from_u128(7))
    }

    fn at(form: &Form, name: &str) -> usize {
        form.fields.iter().position(|field| field.field.name == name).unwrap()
    }

    fn rose(schema: &Schema) -> RowView {
        let table = schema.table_named("patients").unwrap();
        let tag = |name: &str| table.field_named(name).unwrap().tag;
        RowView {
            key: RowKey { table: table.tag, id: id() },
            version: Version(3),
            seen: Seen::default(),
            standing: RowStanding::Clean,
            values: BTreeMap::from([
                (tag("name"), Value::text("Rose")),
                (tag("weight_kg"), table.field_named("weight_kg").unwrap().parse_text("61.5").unwrap()),
                (tag("site"), Value::Uuid([9; 16])),
            ]),
        }
    }

    fn edited(schema: &Schema) -> Form {
        Form::edit(schema.table_named("patients").unwrap(), &rose(schema), &Names::default(), locale())
    }

    #[test]
    fn only_what_was_changed_is_written() {
        let schema = schema();
        let mut form = edited(&schema);
        assert_eq!(form.writes(), []);
        let weight = at(&form, "weight_kg");
        form.type_in(weight, "62");
        let written = form.writes().remove(0);
        let Write::Update(values) = written.write else { panic!("an update") };
        assert_eq!(values.keys().copied().collect::<Vec<_>>(), [form.fields[weight].field.tag]);
        assert!(written.seen.is_some(), "the base is what the person saw");
        // Typed back, it is as it was.
        form.type_in(weight, "61,5");
        assert!(!form.dirty());
        assert_eq!(form.writes(), []);
    }

    #[test]
    fn what_is_wrong_is_said_when_the_field_is_left_and_keeps_the_form_from_being_saved() {
        let schema = schema();
        let mut form = edited(&schema);
        let weight = at(&form, "weight_kg");
        form.type_in(weight, "6x");
        assert_eq!(form.fields[weight].wrong(&locale()), None, "not while typing");
        form.leave(weight);
        assert_eq!(form.fields[weight].wrong(&locale()), Some(Wrong::NotANumber));
        assert_eq!(form.faults(), [weight]);
        assert_eq!(form.writes(), []);
    }

    #[test]
    fn a_new_row_needs_its_required_fields_and_gets_its_defaults() {
        let schema = schema();
        let table = schema.table_named("patients").unwrap();
        let mut form = Form::create(table, id(), &[], locale());
        assert!(!form.dirty());
        let required: Vec<usize> = (0..form.fields.len())
            .filter(|at| form.fields[*at].field.required && form.fields[*at].field.default.is_none())
            .collect();
        assert_eq!(form.faults(), required);
        assert!(!required.is_empty());
    }

    #[test]
    fn what_others_changed_meanwhile_is_told_and_touches_nothing_that_was_typed() {
        let schema = schema();
        let mut form = edited(&schema);
        let name = at(&form, "name");
        form.type_in(name, "Rosa");
        let mut moved = rose(&schema);
        moved.values.insert(form.fields[name].field.tag, Value::text("Rose-Marie"));
        form.refresh(Some(&moved), &Names::default());
        assert_eq!(form.fields[name].news, Some(Value::text("Rose-Marie")));
        assert_eq!(form.fields[name].text(&locale()), "Rosa");
        form.refresh(None, &Names::default());
        assert!(form.gone);
        let writes: Vec<Write> = form.writes().into_iter().map(|write| write.write).collect();
        assert!(matches!(writes.as_slice(), [Write::Restore, Write::Update(_)]), "it comes back with what was typed");
    }

    #[test]
    fn a_field_that_comes_while_the_form_is_open_appears_and_nothing_typed_is_lost() {
        let before = schema();
        let mut form = edited(&before);
        let name = at(&form, "name");
        form.type_in(name, "Rosa");
        let mut after = schema();
        let tag = before.table_named("patients").unwrap().tag;
        let table = after.tables.iter_mut().find(|table| table.tag == tag).unwrap();
        let new = Field { tag: FieldTag(999), name: "blood".into(), label: "Blood group".into(), ..table.fields[0].clone() };
        table.fields.push(new);
        let count = form.fields.len();
        form.schema_changed(&after);
        assert_eq!(form.fields.len(), count + 1);
        assert_eq!(form.fields[at(&form, "name")].text(&locale()), "Rosa");
    }

    #[test]
    fn a_row_that_is_only_looked_at_is_not_changed() {
        let mut schema = schema();
        let tag = schema.table_named("patients").unwrap().tag;
        let table = schema.tables.iter_mut().find(|table| table.tag == tag).unwrap();
        let moment = Kind::Timestamp { unit: tombolo_client::protocol::schema::TimeUnit::Milliseconds };
        table.fields.push(Field { tag: FieldTag(998), name: "seen_at".into(), kind: moment, ..table.fields[1].clone() });
        let mut row = rose(&schema);
        let table = schema.table_named("patients").unwrap();
        // Finer than what is shown; with space around it; empty, which is not the same as nothing.
        row.values.insert(FieldTag(998), Value::Timestamp(1_717_165_815_250));
        row.values.insert(table.field_named("village").unwrap().tag, Value::text(" Lamu "));
        row.values.insert(table.field_named("phone").unwrap().tag, Value::text(""));
        let mut form = Form::edit(table, &row, &Names::default(), locale());
        assert!(!form.dirty());
        assert_eq!(form.writes(), []);
        let name = at(&form, "name");
        form.type_in(name, "Rosa");
        let Write::Update(values) = form.writes().remove(0).write else { panic!("an update") };
        assert_eq!(values.len(), 1, "the others keep what they had, to the millisecond");
    }

    #[test]
    fn what_was_typed_survives_a_field_that_is_edited_in_another_way() {
        let before = schema();
        let mut form = edited(&before);
        let (name, village, sex) = (at(&form, "name"), at(&form, "village"), at(&form, "sex"));
        form.type_in(name, "Rosa");
        form.type_in(village, "Kilifi");
        form.set_choice(sex, Some(1));
        let mut after = schema();
        let table = after.tables.iter_mut().find(|table| table.name == "patients").unwrap();
        table.fields[name].multiline = true;
        table.fields[village].choices = vec!["Lamu".into(), "Kilifi".into()];
        table.fields[sex].choices = Vec::new();
        form.schema_changed(&after);
        assert_eq!((form.fields[name].editor, form.fields[name].text(&locale())), (Editor::Lines, "Rosa".to_owned()));
        assert_eq!((form.fields[village].editor, form.fields[village].choice()), (Editor::Choice, Some(1)));
        assert_eq!((form.fields[sex].editor, form.fields[sex].text(&locale())), (Editor::Line, "M".to_owned()));
        let Write::Update(values) = form.writes().remove(0).write else { panic!("an update") };
        assert_eq!(values.len(), 3);
    }

    #[test]
    fn a_field_that_comes_into_a_form_for_a_new_row_has_its_default() {
        let schema = schema();
        let table = schema.table_named("patients").unwrap();
        let mut form = Form::create(table, id(), &[], locale());
        let mut after = schema.clone();
        let table = after.tables.iter_mut().find(|table| table.name == "patients").unwrap();
        let blood =
            Field { default: Some(Value::text("0")), tag: FieldTag(999), name: "blood".into(), ..table.fields[1].clone() };
        table.fields.push(blood);
        form.schema_changed(&after);
        assert_eq!(form.fields[at(&form, "blood")].text(&locale()), "0");
    }

    /// A row at the server, and what a person sees of it.
    fn shown(schema: &Schema, table: &str, seq: u64, values: &[(&str, &str, u64)]) -> (Row, RowView) {
        let table = schema.table_named(table).unwrap();
        let key = RowKey { table: table.tag, id: id() };
        let fields: BTreeMap<FieldTag, Stamped> = values
            .iter()
            .map(|(name, text, stamp)| {
                let field = table.field_named(name).unwrap();
                (field.tag, Stamped { value: field.parse_text(text).unwrap(), stamp: Seq(*stamp) })
            })
            .collect();
        let (no, version) = (RowNo(1), Version(seq));
        let row = Row { key, no, seq: Seq(seq), ordinal: 0, version, since: Seq(1), life: Life::Live, fields };
        let values = row.fields.iter().map(|(tag, stamped)| (*tag, stamped.value.clone())).collect();
        let seen = Seen::of(0, Some(&row), None);
        (row, RowView { key, version, seen, standing: RowStanding::Clean, values })
    }

    /// What the outbox asks after the form was saved on the server's row: the fields in conflict.
    fn asked(schema: &Schema, form: &Form, row: &Row) -> Vec<String> {
        let table = schema.table(row.key.table).unwrap();
        let mut entry = Entry::new(row.key, Seq(1));
        let local = form.writes().remove(0);
        outbox::write(table, &mut entry, Some(row), local.write, local.seen.as_ref(), &[], 1).unwrap();
        let conflict = outbox::conflict(table, &entry.next.unwrap(), Some(row));
        let fields = conflict.map(|conflict| conflict.fields).unwrap_or_default();
        fields.iter().map(|tag| table.field(*tag).unwrap().name.clone()).collect()
    }

    #[test]
    fn a_field_nobody_typed_in_shows_what_it_is_now_and_its_base_is_what_is_shown() {
        let schema = schema();
        let (_, first) = shown(&schema, "patients", 2, &[("name", "Rose", 2), ("phone", "111", 2), ("village", "Lamu", 2)]);
        let mut form = Form::edit(schema.table_named("patients").unwrap(), &first, &Names::default(), locale());
        let (name, phone, village) = (at(&form, "name"), at(&form, "phone"), at(&form, "village"));
        form.type_in(name, "Rosa");
        let (moved, second) =
            shown(&schema, "patients", 9, &[("name", "Rose-Marie", 9), ("phone", "222", 9), ("village", "Lamu", 2)]);
        form.refresh(Some(&second), &Names::default());
        assert_eq!((form.fields[phone].text(&locale()), form.fields[phone].dirty(&locale())), ("222".to_owned(), false));
        assert_eq!(form.fields[phone].news, Some(Value::text("222")), "it is marked");
        assert_eq!(form.fields[village].news, None);
        assert_eq!(
            (form.fields[name].text(&locale()), &form.fields[name].news),
            ("Rosa".to_owned(), &Some(Value::text("Rose-Marie")))
        );
        // Told again of the same, the marks stay.
        form.refresh(Some(&second), &Names::default());
        assert_eq!(form.fields[phone].news, Some(Value::text("222")));
        assert_eq!(form.writes().len(), 1);
        // What was seen is not asked about; what was not seen is.
        form.type_in(phone, "333");
        assert_eq!(asked(&schema, &form, &moved), ["name"]);
        // It moves once more, and this time nobody is told before saving.
        let (again, _) =
            shown(&schema, "patients", 12, &[("name", "Rose-Marie", 9), ("phone", "444", 12), ("village", "Lamu", 2)]);
        assert_eq!(asked(&schema, &form, &again), ["name", "phone"]);
    }

    #[test]
    fn a_dose_is_never_saved_with_a_unit_that_came_after_it_was_typed() {
        let schema = schema();
        let (_, first) = shown(&schema, "medications", 2, &[("name", "A", 2), ("dose", "5.000", 2), ("unit", "mg", 2)]);
        let mut form = Form::edit(schema.table_named("medications").unwrap(), &first, &Names::default(), locale());
        let (dose, unit) = (at(&form, "dose"), at(&form, "unit"));
        form.type_in(dose, "10");
        let (moved, second) = shown(&schema, "medications", 9, &[("name", "A", 2), ("dose", "5.000", 2), ("unit", "g", 9)]);
        form.refresh(Some(&second), &Names::default());
        assert_eq!(form.fields[unit].choice(), Some(0), "mg, as it was when the dose was typed");
        assert_eq!(form.fields[unit].news, Some(Value::text("g")));
        assert_eq!(asked(&schema, &form, &moved), ["dose", "unit"]);
    }

    #[test]
    fn a_form_in_which_nothing_was_typed_is_as_if_it_were_opened_now() {
        let schema = schema();
        let (_, first) = shown(&schema, "stock", 2, &[("item", "ORS", 2), ("count", "40", 2)]);
        let (moved, second) = shown(&schema, "stock", 9, &[("item", "ORS", 2), ("count", "35", 9)]);
        let mut form = Form::edit(schema.table_named("stock").unwrap(), &first, &Names::default(), locale());
        let count = at(&form, "count");
        let mut early = form.clone();
        early.type_in(count, "39");
        early.refresh(Some(&second), &Names::default());
        assert_eq!(asked(&schema, &early, &moved), ["count"], "counted on 40");
        form.refresh(Some(&second), &Names::default());
        form.type_in(count, "34");
        assert_eq!(asked(&schema, &form, &moved), [""; 0], "counted on 35, in a table where any change asks");
        // In a strict table the row as such is the base, also where another field was typed.
        let mut other = Form::edit(schema.table_named("stock").unwrap(), &first, &Names::default(), locale());
        let item = at(&other, "item");
        other.type_in(item, "ORS 1 l");
        other.refresh(Some(&second), &Names::default());
        assert_eq!(asked(&schema, &other, &moved), ["item"]);
    }

    #[test]
    fn a_reference_that_moved_brings_its_title() {
        let schema = schema();
        let mut form = edited(&schema);
        let site = at(&form, "site");
        let mut moved = rose(&schema);
        let tag = form.fields[site].field.tag;
        moved.values.insert(tag, Value::Uuid([8; 16]));
        let kilifi = target(&form.fields[site].field, moved.value(tag)).unwrap();
        form.refresh(Some(&moved), &Names::from_iter([(kilifi, "Kilifi".to_owned())]));
        assert_eq!(form.fields[site].text(&locale()), "Kilifi");
        assert!(!form.dirty());
    }

    #[test]
    fn a_typed_field_that_goes_with_the_schema_is_named() {
        let before = schema();
        let mut form = edited(&before);
        let village = at(&form, "village");
        form.type_in(village, "Kilifi");
        let mut after = schema();
        let table = after.tables.iter_mut().find(|table| table.name == "patients").unwrap();
        table.fields.retain(|field| field.name != "village" && field.name != "notes");
        assert_eq!(form.schema_changed(&after), ["Village"], "the other one had nothing typed in it");
        assert_eq!(form.writes(), []);
    }

    #[test]
    fn a_field_that_others_emptied_is_seen_as_empty() {
        let schema = schema();
        let (_, first) = shown(&schema, "patients", 2, &[("name", "Rose", 2), ("phone", "111", 2)]);
        let mut form = Form::edit(schema.table_named("patients").unwrap(), &first, &Names::default(), locale());
        let (name, phone) = (at(&form, "name"), at(&form, "phone"));
        form.type_in(name, "Rosa");
        let (mut moved, mut second) = shown(&schema, "patients", 9, &[("name", "Rose", 2)]);
        moved.fields.insert(form.fields[phone].field.tag, Stamped { value: Value::Null, stamp: Seq(9) });
        second.values.insert(form.fields[phone].field.tag, Value::Null);
        form.refresh(Some(&second), &Names::default());
        form.type_in(phone, "333");
        assert_eq!(asked(&schema, &form, &moved), [""; 0]);
    }

    #[test]
    fn what_is_given_to_a_new_row_is_written_as_it_was_given_and_nobody_else_changes_it() {
        let schema = schema();
        let table = schema.table_named("patients").unwrap();
        let village = table.field_named("village").unwrap().tag;
        let mut form = Form::create(table, id(), &[(village, Value::text(" Lamu "), String::new())], locale());
        let (name, site) = (at(&form, "name"), at(&form, "site"));
        form.type_in(name, "Rose");
        form.set_reference(site, Some((id(), "Lamu".into())));
        form.refresh(None, &Names::default());
        assert!(!form.gone);
        let Write::Create(values) = form.writes().remove(0).write else { panic!("a create") };
        assert_eq!(values.get(&village), Some(&Value::text(" Lamu ")));
    }
}
