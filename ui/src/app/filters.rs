//! What the list is filtered by: choices, yes-or-no fields and references of its table.

use super::browse::shown_table;
use super::{App, Place, State, at, fill, handler, handler1, handler2, int, model, named};
use crate::desk::Referred;
use crate::presenters::values::Names;
use crate::window::{Browse, Filter, Words};
use slint::{Model, SharedString};
use std::collections::BTreeSet;
use std::rc::Rc;
use tombolo_client::listing::{Wanted, target};
use tombolo_client::protocol::ids::FieldTag;
use tombolo_client::protocol::schema::Kind;
use tombolo_client::protocol::value::Value;

/// A filter with the values of its choices; the first choice is "all".
pub(super) struct Offered {
    field: FieldTag,
    is_reference: bool,
    values: Vec<Value>,
    /// The choice that is made.
    choice: Option<usize>,
}

/// Filters that stand beside the list; all of them are in a dialog.
const BESIDE_MAX: usize = 2;

impl App {
    pub(super) fn bind_filters(self: &Rc<Self>) {
        let browse = self.get::<Browse>();
        browse.on_set_filter(handler2(self, |app, filter, choice| app.set_filter(at(filter), at(choice))));
        browse.on_search_filter(handler1(self, |app, filter| app.search_filter(at(filter))));
        browse.on_clear_filters(handler(self, |app| {
            app.state.borrow_mut().wanted = Wanted::default();
            let browse = app.get::<Browse>();
            browse.set_text("".into());
            browse.set_standing(0);
            app.offer_filters();
            app.find();
        }));
    }

    /// Choice and yes-or-no fields, and references, are offered as filters. Where references point at many rows, the one to filter
    /// by is searched for.
    pub(super) fn offer_filters(self: &Rc<Self>) {
        let words = self.get::<Words>();
        let (any, yes, no) = (words.invoke_any(), words.invoke_yes(), words.invoke_no());
        let mut shown = Vec::new();
        let mut offered = Vec::new();
        {
            let state = self.state.borrow();
            let Some(table) = shown_table(&state) else { return };
            for field in &table.fields {
                let referred = state.referred.iter().find(|(tag, _)| *tag == field.tag);
                let wanted = state.wanted.equal.iter().find(|(tag, _)| *tag == field.tag).map(|(_, value)| value);
                let many = referred.is_none() && field.reference.is_some() && state.listing.is_some();
                let choices: Vec<(SharedString, Value)> = if !field.choices.is_empty() {
                    field.choices.iter().map(|choice| (choice.as_str().into(), Value::text(choice))).collect()
                } else if field.kind == Kind::Bool {
                    vec![(yes.clone(), Value::Bool(true)), (no.clone(), Value::Bool(false))]
                } else if let Some((_, rows)) = referred.filter(|(_, rows)| rows.len() > 1) {
                    rows.iter().map(|(id, title)| (named(title), Value::Uuid(*id.bytes()))).collect()
                } else if many {
                    let title = |value| target(field, value).and_then(|key| state.names.of_row(key)).unwrap_or_default();
                    wanted.iter().map(|value| (named(title(value)), (*value).clone())).collect()
                } else {
                    continue;
                };
                let choice = wanted.and_then(|value| choices.iter().position(|(_, choice)| choice == value));
                let (texts, values): (Vec<SharedString>, Vec<Value>) = choices.into_iter().unzip();
                shown.push(Filter {
                    label: field.label.as_str().into(),
                    choices: model(std::iter::once(any.clone()).chain(texts).collect()),
                    choice: choice.map_or(0, |choice| int(choice + 1)),
                    many,
                });
                offered.push(Offered { field: field.tag, is_reference: field.reference.is_some(), values, choice });
            }
        }
        let beside: Vec<i32> = beside(&offered).into_iter().map(int).collect();
        let used = offered.iter().filter(|filter| filter.choice.is_some()).count();
        let mut state = self.state.borrow_mut();
        // What cannot be chosen any more filters nothing.
        let stays = |(tag, value): &(FieldTag, Value)| offered.iter().any(|of| of.field == *tag && of.values.contains(value));
        state.wanted.equal.retain(stays);
        state.filters = offered;
        drop(state);
        // A list of choices is compared by identity; the one that has the focus stays.
        let kept = |(mut filter, before): (Filter, Option<Filter>)| {
            if let Some(before) = before.filter(|before| before.choices.iter().eq(filter.choices.iter())) {
                filter.choices = before.choices;
            }
            filter
        };
        let before: Vec<Option<Filter>> = (0..shown.len()).map(|at| self.filters.row_data(at)).collect();
        // None of another table is looked at meanwhile.
        if shown.len() < self.filters.row_count() {
            fill(&self.beside, Vec::new());
        }
        fill(&self.filters, shown.into_iter().zip(before).map(kept).collect());
        fill(&self.beside, beside);
        self.get::<Browse>().set_filters_used(int(used));
    }

    fn set_filter(self: &Rc<Self>, filter: usize, choice: usize) {
        let (field, value) = {
            let state = self.state.borrow();
            let Some(Offered { field, values, .. }) = state.filters.get(filter) else { return };
            (*field, choice.checked_sub(1).and_then(|choice| values.get(choice)).cloned())
        };
        self.filter_by(field, value);
    }

    /// Somebody looks for the one row that the others are to point at.
    fn search_filter(self: &Rc<Self>, filter: usize) {
        let field = self.state.borrow().filters.get(filter).map(|offered| offered.field);
        if let Some(field) = field {
            self.pick(Place::Filter(field));
        }
    }

    /// Only rows with this value in a field are listed; with none, whatever they have there.
    pub(super) fn filter_by(self: &Rc<Self>, field: FieldTag, value: Option<Value>) {
        {
            let mut state = self.state.borrow_mut();
            state.wanted.equal.retain(|(tag, _)| *tag != field);
            state.wanted.equal.extend(value.map(|value| (field, value)));
        }
        self.offer_filters();
        self.find();
    }
}

/// What the rows are called that the list is filtered by.
pub(super) fn filtered_by(state: &State, referred: &[Referred]) -> Names {
    let name = |(tag, value): &(FieldTag, Value)| {
        let key = target(shown_table(state)?.field(*tag)?, value)?;
        let (_, rows) = referred.iter().find(|(field, _)| field == tag)?;
        rows.iter().find(|(id, _)| *id == key.id).map(|(_, title)| (key, title.clone()))
    };
    state.wanted.equal.iter().filter_map(name).collect()
}

/// Which of them stand beside the list, in the order of the table: those in use, then the first of each kind, then others.
fn beside(offered: &[Offered]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..offered.len()).collect();
    let mut kinds = BTreeSet::new();
    places.sort_by_cached_key(|at| {
        let Offered { is_reference, choice, .. } = &offered[*at];
        let is_first = kinds.insert(*is_reference);
        (choice.is_none(), !is_first)
    });
    places.truncate(BESIDE_MAX);
    places.sort_unstable();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_the_list_stand_filters_in_use_and_then_the_first_of_each_kind() {
        let filters = |of: &[(bool, bool)]| -> Vec<Offered> {
            let offered = |(is_reference, used): &(bool, bool)| Offered {
                field: FieldTag(1),
                is_reference: *is_reference,
                values: Vec::new(),
                choice: used.then_some(0),
            };
            of.iter().map(offered).collect()
        };
        let (choice, reference) = (false, true);
        for (of, stand) in [
            (vec![], vec![]),
            (vec![(choice, false)], vec![0]),
            (vec![(reference, false), (reference, false), (choice, false)], vec![0, 2]),
            (vec![(choice, false), (choice, false)], vec![0, 1]),
            (vec![(reference, false), (reference, true), (choice, false)], vec![0, 1]),
            (vec![(reference, false), (reference, true), (choice, true)], vec![1, 2]),
            (vec![(choice, true), (choice, true), (choice, true)], vec![0, 1]),
        ] {
            assert_eq!(beside(&filters(&of)), stand, "{of:?}");
        }
    }
}
