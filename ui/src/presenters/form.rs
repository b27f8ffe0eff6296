//! A form for one row of any table, made of the schema.
//!
//! A form writes only what the person changed in it, on the base of what they saw when it was opened (rule O2): a field that
//! somebody else changed meanwhile is asked about, and never overwritten in silence.

use super::values::{Locale, Wrong};
use std::collections::BTreeMap;
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
    /// What it became by somebody else while the form was open.
    pub news: Option<Value>,
    /// The other members of its group, for people.
    pub group: String,
}

impl FormField {
    fn new(table: &Table, field: &Field, value: &Value, title: String, locale: &Locale) -> Self {
        let editor = editor_of(field);
        let unit = table.unit(&field.tag);
        let others = unit.iter().filter(|tag| **tag != field.tag).filter_map(|tag| Some(table.field(*tag)?.label.clone()));
        Self {
            field: field.clone(),
            editor,
            input: input_of(field, editor, value, locale),
            original: value.clone(),
            title,
            left: false,
            news: None,
            group: others.collect::<Vec<_>>().join(", "),
        }
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
            Input::Text(text) => locale.read(&self.field, text),
            Input::Value(value) if self.editor == Editor::Fixed => Ok(value.clone()),
            Input::Value(value) => locale.check(&self.field, value).map(|()| value.clone()),
        }
    }

    /// Whether something else stands in it than at first.
    pub fn dirty(&self, locale: &Locale) -> bool {
        match self.value(locale) {
            Ok(value) => value != self.original,
            // What cannot be read is not what was there.
            Err(_) => self.input != input_of(&self.field, self.editor, &self.original, locale),
        }
    }

    /// What is wrong, once it may be said.
    pub fn wrong(&self, locale: &Locale) -> Option<Wrong> {
        if self.left { self.value(locale).err() } else { None }
    }
}

fn editor_of(field: &Field) -> Editor {
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
    locale: Locale,
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
        Self { key, new: true, gone: false, fields: fields.collect(), seen: None, locale }
    }

    /// A form for a row that is there, as the person sees it. `titles` are those of the rows that it points at.
    pub fn edit(table: &Table, view: &RowView, titles: &[(FieldTag, String)], locale: Locale) -> Self {
        let title = |tag| titles.iter().find(|(of, _)| *of == tag).map(|(_, title)| title.clone()).unwrap_or_default();
        let fields =
            table.fields.iter().map(|field| FormField::new(table, field, view.value(field.tag), title(field.tag), &locale));
        let fields = fields.collect();
        Self { key: view.key, new: false, gone: false, fields, seen: Some(view.seen.clone()), locale }
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
        let dirty = self.fields.get(at).is_some_and(|field| field.dirty(&self.locale));
        if let Some(field) = self.fields.get_mut(at).filter(|_| dirty) {
            field.left = true;
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

    /// The tables changed: fields that came appear, those that went disappear, and what was typed stays.
    pub fn schema_changed(&mut self, schema: &Schema) {
        let Some(table) = schema.table(self.key.table) else {
            self.gone = true;
            return;
        };
        let mut old = std::mem::take(&mut self.fields);
        for field in &table.fields {
            let before = old.iter().position(|before| before.field.tag == field.tag).map(|at| old.remove(at));
            self.fields.push(match before {
                Some(before) if editor_of(field) == before.editor => FormField { field: field.clone(), ..before },
                before => {
                    let value = before.map_or(Value::Null, |before| before.original);
                    FormField::new(table, field, &value, String::new(), &self.locale)
                }
            });
        }
    }

    /// The row changed, or was deleted, while the form was open: the person is told, and nothing that was typed is touched.
    pub fn row_changed(&mut self, view: Option<&RowView>) {
        if self.new {
            return;
        }
        self.gone = view.is_none();
        for field in &mut self.fields {
            let now = view.map(|view| view.value(field.field.tag));
            field.news = now.filter(|now| **now != field.original).cloned();
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
    use tombolo_client::protocol::ids::Version;
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
        Form::edit(schema.table_named("patients").unwrap(), &rose(schema), &[], locale())
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
        form.row_changed(Some(&moved));
        assert_eq!(form.fields[name].news, Some(Value::text("Rose-Marie")));
        assert_eq!(form.fields[name].text(&locale()), "Rosa");
        form.row_changed(None);
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
}
