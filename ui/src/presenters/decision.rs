//! What a person decides about a row in conflict, field by field.

use super::partners;
use super::values::{Locale, Wrong};
use std::collections::BTreeMap;
use tombolo_client::protocol::change::Op;
use tombolo_client::protocol::ids::{FieldTag, RowKey};
use tombolo_client::protocol::outbox::{Choice, ConflictKind, Resolution};
use tombolo_client::protocol::schema::{Field, Kind, Preselect, Schema, Table};
use tombolo_client::protocol::value::Value;
use tombolo_client::view::ConflictView;

/// Of so many other rows that go together with a decision the names are told; of the rest, how many they are.
pub const TOGETHER_NAMED_MAX: usize = 3;

/// A side of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Side {
    /// Not chosen yet.
    #[default]
    None,
    /// The person's own value.
    Mine,
    /// The server's.
    Server,
    /// Another one, typed.
    Other,
}

/// What happened to a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merge {
    /// Both changed it: the person decides.
    Conflict,
    /// Only the person changed it.
    FromMine,
    /// Only others changed it since the person saw the row; or the person deleted the row, and what they changed is at stake.
    FromServer,
    /// Nobody changed it; or the server's row is another row, with which it has nothing to do.
    Unchanged,
}

/// What becomes of a unique value of another row that mine takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taking {
    /// The other row has none then.
    Empties,
    /// The other row must have one: its text gets a number behind it.
    Renames,
    /// The other row must have one, and keeps it.
    Refused,
}

/// A field of a decision.
#[derive(Clone, Debug)]
pub struct Line {
    /// The field.
    pub field: Field,
    /// What the person saw before they changed it; `None` where it is not known.
    pub base: Option<Value>,
    /// The person's value.
    pub mine: Value,
    /// The server's value.
    pub server: Value,
    /// What happened to it.
    pub merge: Merge,
    /// The side that is chosen.
    pub side: Side,
    /// It was chosen beforehand, and not by the person.
    pub beforehand: bool,
    /// What was typed for [`Side::Other`]; kept where that choice had to be dropped.
    pub other: String,
    /// The other members of its group, for people.
    pub group: String,
}

/// A decision that is being made.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The row.
    pub key: RowKey,
    /// What clashes.
    pub kind: ConflictKind,
    /// A line for each field.
    pub lines: Vec<Line>,
    /// The conflict as it is shown; what a decision is based on.
    pub shown: ConflictView,
    /// Who changed the server's side, and when.
    pub author: Option<(String, i64)>,
    units: BTreeMap<FieldTag, Vec<FieldTag>>,
    /// The side that is chosen for the row as such, and whether it was chosen beforehand.
    row: Side,
    row_beforehand: bool,
    /// The change makes a new row.
    new: bool,
    dropped: Vec<FieldTag>,
    locale: Locale,
}

impl Decision {
    /// The decision of a conflict. `default` is the side that is chosen beforehand where the schema says nothing.
    ///
    /// In a duplicate nothing is chosen beforehand: there, mine takes the value from a row that nobody looked at.
    pub fn new(schema: &Schema, view: &ConflictView, default: Side, locale: Locale) -> Option<Self> {
        let table = schema.table(view.key.table)?;
        let duplicate = view.conflict.kind == ConflictKind::Unique;
        let shown = |field: &&Field| !duplicate || is_touched(view, field.tag);
        let beforehand = match table.preselect {
            _ if duplicate => Side::None,
            Preselect::Mine => Side::Mine,
            Preselect::Server => Side::Server,
            Preselect::Nothing => default,
        };
        let mut decision = Self {
            key: view.key,
            kind: view.conflict.kind,
            lines: table.fields.iter().filter(shown).map(|field| line(table, field, view)).collect(),
            shown: view.clone(),
            author: view.author.as_ref().map(|author| (author.name.clone(), author.at_ms)),
            units: table.fields.iter().map(|field| (field.tag, table.unit(&field.tag).to_vec())).collect(),
            row: Side::None,
            row_beforehand: false,
            new: view.mine.op == Op::Create,
            dropped: Vec::new(),
            locale,
        };
        if decision.about_row() {
            decision.row = beforehand;
            decision.row_beforehand = beforehand != Side::None;
        }
        for line in decision.lines.iter_mut().filter(|line| line.merge == Merge::Conflict) {
            line.side = beforehand;
            line.beforehand = beforehand != Side::None;
        }
        Some(decision)
    }

    /// Whether the change makes a new row: nothing was there before it.
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// Whether the row as such is the question, and not its fields.
    pub fn about_row(&self) -> bool {
        matches!(self.kind, ConflictKind::DeleteUpdate | ConflictKind::UpdateDelete)
    }

    /// Whether a side of a field can be chosen: in a duplicate only of the one that is taken, and there not the other row's where
    /// my new row must have a value. Of what only others changed, mine is what it was before; of a group, all of it.
    fn can_choose(&self, line: &Line, side: Side) -> bool {
        if self.kind == ConflictKind::Unique {
            return line.merge == Merge::Conflict && (side != Side::Server || self.can_yield());
        }
        let unit = self.units.get(&line.field.tag);
        let mut of_unit = self.lines.iter().filter(|line| unit.is_some_and(|unit| unit.contains(&line.field.tag)));
        side != Side::Mine || of_unit.all(|line| line.merge != Merge::FromServer || line.base.is_some())
    }

    /// Whether mine can be chosen for a field.
    pub fn can_be_mine(&self, at: usize) -> bool {
        self.lines.get(at).is_some_and(|line| self.can_choose(line, Side::Mine))
    }

    /// In a duplicate: whether my row can leave the value to the other one. A new row that must have one cannot.
    pub fn can_yield(&self) -> bool {
        !self.new || !self.lines.iter().any(|line| line.merge == Merge::Conflict && line.field.required)
    }

    /// In a duplicate: what becomes of the other row's value where mine keeps it.
    pub fn takes(&self) -> Taking {
        let taken = self.lines.iter().find(|line| line.merge == Merge::Conflict);
        match taken.map(|line| &line.field).filter(|field| field.required) {
            None => Taking::Empties,
            Some(field) if field.kind == Kind::Text && field.choices.is_empty() => Taking::Renames,
            Some(_) => Taking::Refused,
        }
    }

    /// Chooses a side for a field, and for the members of its group.
    pub fn choose(&mut self, at: usize, side: Side) {
        let Some(line) = self.lines.get(at).filter(|line| self.can_choose(line, side)) else { return };
        let tag = line.field.tag;
        let unit = self.units.get(&tag).cloned().unwrap_or_default();
        self.row = Side::None;
        for line in self.lines.iter_mut().filter(|line| unit.contains(&line.field.tag)) {
            line.beforehand = false;
            if side == Side::Other {
                if line.field.tag == tag && line.side != Side::Other {
                    let is_theirs = line.side == Side::Server || (line.side == Side::None && line.merge == Merge::FromServer);
                    let beginning = if is_theirs { &line.server } else { &line.mine };
                    line.other = self.locale.show(&line.field, beginning);
                    line.side = side;
                } else if line.field.tag != tag && line.side == Side::None && line.merge == Merge::Conflict {
                    // A typed value may stand beside either side of its group.
                    line.side = Side::Mine;
                }
                continue;
            }
            line.side = match (line.merge, side) {
                (Merge::Conflict | Merge::FromMine, _) | (Merge::FromServer, Side::Mine) => side,
                // The server's stays by itself.
                (Merge::FromServer | Merge::Unchanged, _) => Side::None,
            };
        }
    }

    /// Types another value.
    pub fn type_in(&mut self, at: usize, text: &str) {
        self.choose(at, Side::Other);
        if let Some(line) = self.lines.get_mut(at).filter(|line| line.side == Side::Other) {
            line.other = text.to_owned();
        }
    }

    /// Another value that is not typed: a choice, yes or no, a row.
    pub fn choose_value(&mut self, at: usize, value: &Value) {
        let text = self.lines.get(at).map(|line| self.locale.show(&line.field, value)).unwrap_or_default();
        self.type_in(at, &text);
    }

    /// The other value, where it is one.
    pub fn other(&self, at: usize) -> Option<Value> {
        self.other_value(self.lines.get(at)?).ok()
    }

    /// One side for all fields in conflict. It also takes back what was overruled for the other side.
    pub fn choose_all(&mut self, side: Side) {
        self.row = Side::None;
        for line in &mut self.lines {
            let chosen = match line.merge {
                Merge::Conflict => side,
                Merge::FromMine if side == Side::Mine => side,
                Merge::FromServer if side == Side::Server && line.side == Side::Mine => Side::None,
                Merge::FromMine | Merge::FromServer | Merge::Unchanged => continue,
            };
            (line.side, line.beforehand) = (chosen, false);
        }
    }

    /// Answers the question about the row as such. In a duplicate, the server's side gives up the change, a new row with it.
    pub fn decide_row(&mut self, side: Side) {
        (self.row, self.row_beforehand) = (side, false);
    }

    /// What is wrong with a typed value, or with leaving a value that the row must have to the other row.
    pub fn wrong(&self, at: usize) -> Option<Wrong> {
        let line = self.lines.get(at)?;
        match line.side {
            Side::Other => self.other_value(line).err(),
            Side::Server if self.kind == ConflictKind::Unique && self.new && line.field.required => Some(Wrong::Required),
            // The schema may ask for more than it did then.
            Side::Mine if line.merge == Merge::FromServer => self.locale.check(&line.field, &line.mine).err(),
            Side::Mine if self.is_left_empty(line) && line.field.required => Some(Wrong::Required),
            _ => None,
        }
    }

    /// Whether my new row left empty what the other one filled in: there is no edit of mine to choose, only its emptiness.
    fn is_left_empty(&self, line: &Line) -> bool {
        self.kind == ConflictKind::CreateCreate && line.merge == Merge::Conflict && line.mine.is_null()
    }

    /// The typed value; one that was not edited is the one that typing began with, and not only what is shown of it.
    fn other_value(&self, line: &Line) -> Result<Value, Wrong> {
        let same = [&line.mine, &line.server].into_iter().find(|value| self.locale.show(&line.field, value) == line.other);
        match same {
            Some(value) => self.locale.check(&line.field, value).map(|()| value.clone()),
            None => self.locale.read(&line.field, &line.other),
        }
    }

    /// What still has to be decided: fields without a choice or with a wrong value, or the question about the row.
    pub fn undecided(&self) -> usize {
        if self.about_row() || self.row != Side::None {
            return usize::from(!matches!(self.row, Side::Mine | Side::Server));
        }
        let open = |(at, line): &(usize, &Line)| {
            (line.merge == Merge::Conflict && line.side == Side::None) || self.wrong(*at).is_some()
        };
        self.lines.iter().enumerate().filter(open).count()
    }

    /// What was decided; nothing while something is open.
    pub fn resolution(&self) -> Option<Resolution> {
        if self.undecided() > 0 {
            return None;
        }
        match self.row {
            Side::Mine => return Some(Resolution::AllMine),
            Side::Server => return Some(Resolution::AllServer),
            Side::None | Side::Other => {}
        }
        let mut choices = BTreeMap::new();
        for line in &self.lines {
            let choice = match (line.merge, line.side) {
                (_, Side::Other) => Choice::Value(self.other_value(line).ok()?),
                (Merge::Conflict, Side::Mine) if self.is_left_empty(line) => Choice::Value(Value::Null),
                (Merge::Conflict, Side::Mine) => Choice::Mine,
                (Merge::Conflict | Merge::FromMine, Side::Server) => Choice::Server,
                (Merge::FromServer, Side::Mine) => Choice::Value(line.mine.clone()),
                // What merged by itself is named only where it was overruled.
                _ => continue,
            };
            choices.insert(line.field.tag, choice);
        }
        Some(Resolution::Fields(choices))
    }

    /// Whether the dialog still shows the conflict as it is: the server's side, what is pending, and the fields.
    pub fn shows(&self, schema: &Schema, view: &ConflictView) -> bool {
        let Some(now) = Self::new(schema, view, Side::None, self.locale.clone()) else { return false };
        let same = |(one, other): (&Line, &Line)| {
            (&one.field, &one.base, &one.mine, &one.server, one.merge)
                == (&other.field, &other.base, &other.mine, &other.server, other.merge)
        };
        self.shown.server == now.shown.server
            && self.shown.is_together_with(view.together().map(|(key, change)| (*key, change)))
            && self.kind == now.kind
            && self.new == now.new
            && self.lines.len() == now.lines.len()
            && self.lines.iter().zip(&now.lines).all(same)
    }

    /// The row moved while the dialog was open: the choices that still hold are kept. Returns how many do not.
    pub fn moved(&mut self, schema: &Schema, view: &ConflictView) -> usize {
        let Some(mut fresh) = Self::new(schema, view, Side::None, self.locale.clone()) else { return 0 };
        // Another question is not answered beforehand while somebody looks at the one before.
        (fresh.row, fresh.row_beforehand) = (Side::None, false);
        for line in fresh.lines.iter_mut().filter(|line| line.beforehand) {
            (line.side, line.beforehand) = (by_itself(line.merge), false);
        }
        let before = std::mem::replace(self, fresh);
        self.adopt(&before, true)
    }

    /// Takes over what was chosen in an earlier dialog about the same row, as far as it holds; what the person did not choose is
    /// chosen beforehand as ever. Returns how many of their choices do not hold any more.
    pub fn take_over(&mut self, before: &Self) -> usize {
        self.adopt(before, false)
    }

    /// A choice holds while all is the same that it was made about: for the members of a group, that of each of them.
    fn adopt(&mut self, before: &Self, with_beforehand: bool) -> usize {
        let same_question = self.is_same_question(before);
        let earlier_of = |line: &Line| before.lines.iter().find(|earlier| earlier.field.tag == line.field.tag);
        let is_same = |line: &Line| {
            let earlier = earlier_of(line);
            earlier.is_some_and(|earlier| {
                (&earlier.mine, &earlier.server, earlier.merge) == (&line.mine, &line.server, line.merge)
            })
        };
        let moved: Vec<FieldTag> = self.lines.iter().filter(|line| !is_same(line)).map(|line| line.field.tag).collect();
        let all_same = same_question && moved.is_empty() && self.lines.len() == before.lines.len();
        let asks_for_row = self.about_row();
        let mut dropped = Vec::new();
        for at in 0..self.lines.len() {
            let Some(earlier) = earlier_of(&self.lines[at]) else { continue };
            self.lines[at].other = self.in_this_language(before, earlier);
            let line = &mut self.lines[at];
            let unit = self.units.get(&line.field.tag);
            let holds =
                same_question && !moved.iter().any(|tag| unit.is_some_and(|unit| unit.contains(tag)) || *tag == line.field.tag);
            let chosen = earlier.side != by_itself(earlier.merge);
            // Nobody has chosen it again yet.
            let is_open = !asks_for_row && line.merge == Merge::Conflict && !chosen;
            let again = is_open && before.dropped.contains(&line.field.tag);
            if chosen && holds && (with_beforehand || !earlier.beforehand) {
                (line.side, line.beforehand) = (earlier.side, earlier.beforehand);
            } else if again || (chosen && !earlier.beforehand) {
                (line.side, line.beforehand) = (by_itself(line.merge), false);
                dropped.push(line.field.tag);
            }
        }
        let mut count = dropped.len();
        if before.row != Side::None && all_same && (with_beforehand || !before.row_beforehand) {
            (self.row, self.row_beforehand) = (before.row, before.row_beforehand);
        } else if before.row != Side::None && !before.row_beforehand {
            (self.row, self.row_beforehand) = (Side::None, false);
            count += 1;
        }
        self.dropped = dropped;
        count
    }

    /// What was typed, as it is written in the language of this dialog: 1,5 and 1.5 are one number.
    fn in_this_language(&self, before: &Self, line: &Line) -> String {
        if self.locale.language == before.locale.language || line.side != Side::Other {
            return line.other.clone();
        }
        before.other_value(line).map_or_else(|_| line.other.clone(), |value| self.locale.show(&line.field, &value))
    }

    /// Of the same kind, and in a duplicate with the same other row.
    fn is_same_question(&self, before: &Self) -> bool {
        let other = |decision: &Self| decision.shown.server.as_ref().map(|row| row.key);
        self.kind == before.kind && other(self) == other(before)
    }

    /// Whether the person chose anything, or typed something.
    pub fn is_begun(&self) -> bool {
        let chosen = |line: &Line| !line.other.is_empty() || (!line.beforehand && line.side != by_itself(line.merge));
        self.lines.iter().any(chosen) || (self.row != Side::None && !self.row_beforehand) || !self.dropped.is_empty()
    }

    /// Whether anything that was chosen beforehand stands as it was.
    pub fn has_beforehand(&self) -> bool {
        self.row_beforehand || self.lines.iter().any(|line| line.beforehand)
    }

    /// The fields whose choices were dropped when the row moved last.
    pub fn dropped(&self) -> &[FieldTag] {
        &self.dropped
    }
}

/// The side of a field that nobody chose.
fn by_itself(merge: Merge) -> Side {
    if merge == Merge::FromMine { Side::Mine } else { Side::None }
}

fn is_touched(view: &ConflictView, field: FieldTag) -> bool {
    view.mine.fields.contains_key(&field) || view.conflict.fields.contains(&field)
}

fn line(table: &Table, field: &Field, view: &ConflictView) -> Line {
    let edit = view.mine.fields.get(&field.tag);
    let server = view.server.as_ref().map(|row| row.value(field.tag).clone()).unwrap_or_default();
    let stamp = view.server.as_ref().map(|row| row.stamp(field.tag)).unwrap_or_default();
    let merged = matches!(view.conflict.kind, ConflictKind::UpdateUpdate | ConflictKind::CreateCreate);
    let base = view.base(field.tag).cloned();
    // The server's row is another one there.
    let duplicate = view.conflict.kind == ConflictKind::Unique;
    let merge = match edit {
        // What the deletion had swallowed is nobody's question; its base is what was there before others changed it.
        _ if view.conflict.kind == ConflictKind::DeleteUpdate => {
            let back = edit.is_some_and(|edit| edit.base_value.as_ref() == Some(&server));
            if stamp > view.mine.row_base && !back { Merge::FromServer } else { Merge::Unchanged }
        }
        _ if view.conflict.fields.contains(&field.tag) => Merge::Conflict,
        Some(edit) if !duplicate && edit.value != server => Merge::FromMine,
        None if merged && stamp > view.mine.row_base && base.as_ref() != Some(&server) => Merge::FromServer,
        _ => Merge::Unchanged,
    };
    Line {
        field: field.clone(),
        mine: match edit {
            Some(edit) => edit.value.clone(),
            None if duplicate || merge == Merge::Conflict => Value::Null,
            // What I did not touch is as I saw it.
            None => base.as_ref().filter(|_| merge == Merge::FromServer).unwrap_or(&server).clone(),
        },
        base,
        server,
        merge,
        side: by_itself(merge),
        beforehand: false,
        other: String::new(),
        group: partners(table, field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presenters::values::Language;
    use jiff::tz::TimeZone;
    use std::sync::Arc;
    use tombolo_client::protocol::ids::{RowId, RowNo, Seq, Version};
    use tombolo_client::protocol::outbox::{self, Conflict, Edit, Entry, Pending, Review, resolve};
    use tombolo_client::protocol::row::{Life, Row, Stamped};
    use tombolo_client::protocol::schema::{CLINIC, TimeUnit};

    fn locale() -> Locale {
        Locale { language: Language::English, zone: TimeZone::UTC }
    }

    fn schema() -> Schema {
        let mut schema = Schema::parse(CLINIC).unwrap();
        schema.tables.iter_mut().for_each(|table| table.preselect = Preselect::Nothing);
        schema
    }

    fn edit(value: &str, base: &str, seq: u64) -> Edit {
        Edit { value: Value::text(value), base_value: Some(Value::text(base)), base: Seq(seq) }
    }

    /// Phone clashes; the village is only mine.
    fn clash(schema: &Schema) -> ConflictView {
        let table = schema.table_named("patients").unwrap();
        let tag = |name: &str| table.field_named(name).unwrap().tag;
        let key = RowKey { table: table.tag, id: RowId(uuid::Uuid::from_u128(5)) };
        let mut server = Row {
            key,
            no: RowNo(1),
            seq: Seq(9),
            ordinal: 0,
            version: Version(2),
            since: Seq(2),
            life: Life::Live,
            fields: BTreeMap::new(),
        };
        for (name, value, seq) in [("name", "Rose", 2), ("phone", "222", 9), ("village", "Lamu", 2)] {
            server.fields.insert(tag(name), Stamped { value: Value::text(value), stamp: Seq(seq) });
        }
        let mine = Pending {
            fields: BTreeMap::from([(tag("phone"), edit("111", "000", 2)), (tag("village"), edit("Kilifi", "Lamu", 2))]),
            ..Pending::new(Op::Update, Seq(2), 0)
        };
        let conflict = Conflict { kind: ConflictKind::UpdateUpdate, fields: vec![tag("phone")] };
        let (lost, replaced, group) = (Vec::new(), BTreeMap::new(), Arc::default());
        ConflictView { key, conflict, mine, server: Some(server), author: None, lost, replaced, group }
    }

    fn at(decision: &Decision, name: &str) -> usize {
        decision.lines.iter().position(|line| line.field.name == name).unwrap()
    }

    /// What the product makes of a decision: the row's values then, field by field, as they will be pushed.
    fn applied(schema: &Schema, view: &ConflictView, resolution: &Resolution) -> BTreeMap<String, Value> {
        let table = schema.table(view.key.table).unwrap();
        let mut entry = Entry { next: Some(view.mine.clone()), ..Entry::new(view.key, Seq(1)) };
        resolve(table, &mut entry, &view.conflict, view.server.as_ref(), resolution, 1).unwrap();
        let fields = entry.next.map(|next| next.fields).unwrap_or_default();
        fields.into_iter().map(|(tag, edit)| (table.field(tag).unwrap().name.clone(), edit.value)).collect()
    }

    #[test]
    fn a_clash_is_decided_by_the_person_and_what_merged_by_itself_can_be_overruled() {
        let schema = schema();
        let view = clash(&schema);
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        assert_eq!((decision.undecided(), decision.resolution()), (1, None));
        let (phone, village) = (at(&decision, "phone"), at(&decision, "village"));
        assert_eq!((decision.lines[village].merge, decision.lines[village].side), (Merge::FromMine, Side::Mine));
        decision.choose(phone, Side::Mine);
        let kept = applied(&schema, &view, &decision.resolution().unwrap());
        assert_eq!((&kept["phone"], &kept["village"]), (&Value::text("111"), &Value::text("Kilifi")));
        decision.choose(village, Side::Server);
        let overruled = applied(&schema, &view, &decision.resolution().unwrap());
        assert_eq!(overruled.get("village"), None, "the server's value stays");
        assert_eq!(overruled["phone"], Value::text("111"));
    }

    #[test]
    fn another_value_is_checked_like_any_other() {
        let schema = schema();
        let view = clash(&schema);
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        let phone = at(&decision, "phone");
        decision.choose(phone, Side::Other);
        assert_eq!(decision.lines[phone].other, "111", "typing begins with mine");
        decision.type_in(phone, &"9".repeat(5000));
        assert_eq!((decision.undecided(), decision.wrong(phone).is_some()), (1, true));
        decision.type_in(phone, "333");
        let values = applied(&schema, &view, &decision.resolution().unwrap());
        assert_eq!(values["phone"], Value::text("333"));
    }

    #[test]
    fn choices_that_still_hold_are_kept_when_the_row_moves() {
        let schema = schema();
        let view = clash(&schema);
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        let (phone, village) = (at(&decision, "phone"), at(&decision, "village"));
        decision.choose(phone, Side::Mine);
        decision.choose(village, Side::Server);
        let mut moved = view.clone();
        let tag = decision.lines[phone].field.tag;
        moved.server.as_mut().unwrap().fields.insert(tag, Stamped { value: Value::text("444"), stamp: Seq(12) });
        assert_eq!(decision.moved(&schema, &moved), 1);
        assert_eq!(decision.lines[phone].side, Side::None, "the server's value is another one");
        assert_eq!(decision.lines[village].side, Side::Server, "this one is as it was");
        assert_eq!(decision.shown.server, moved.server, "the decision is based on the new row");
    }

    #[test]
    fn what_was_chosen_in_an_earlier_dialog_holds_only_for_what_is_still_shown() {
        let schema = schema();
        let view = clash(&schema);
        let mut earlier = Decision::new(&schema, &view, Side::Mine, locale()).unwrap();
        assert!(!earlier.is_begun() && earlier.shows(&schema, &view), "what is chosen beforehand is no choice");
        earlier.choose(at(&earlier, "phone"), Side::Server);
        assert!(earlier.is_begun());
        let open = |view: &ConflictView, earlier: &Decision| {
            let mut decision = Decision::new(&schema, view, Side::Mine, locale()).unwrap();
            let dropped = decision.take_over(earlier);
            let phone = decision.lines[at(&decision, "phone")].clone();
            (phone.side, phone.beforehand, phone.mine, dropped)
        };
        let mine = earlier.lines[at(&earlier, "phone")].mine.clone();
        assert_eq!(open(&view, &earlier), (Side::Server, false, mine, 0));
        // The person has changed their own side in a form since.
        let mut edited = view.clone();
        let phone = earlier.lines[at(&earlier, "phone")].field.tag;
        edited.mine.fields.get_mut(&phone).unwrap().value = Value::text("333");
        assert!(!earlier.shows(&schema, &edited));
        assert_eq!(open(&edited, &earlier), (Side::None, false, Value::text("333"), 1));
        // Or taken it back: there is nothing to choose any more.
        let mut taken_back = view.clone();
        taken_back.mine.fields.remove(&phone);
        taken_back.conflict.fields.retain(|field| *field != phone);
        let mut decision = Decision::new(&schema, &taken_back, Side::None, locale()).unwrap();
        decision.take_over(&earlier);
        let at_phone = at(&decision, "phone");
        assert_eq!(decision.lines[at_phone].side, Side::None);
    }

    #[test]
    fn a_choice_that_has_to_be_made_again_is_not_made_by_the_settings() {
        let schema = schema();
        let view = clash(&schema);
        let mut earlier = Decision::new(&schema, &view, Side::Mine, locale()).unwrap();
        let phone = at(&earlier, "phone");
        earlier.choose(phone, Side::Server);
        let mut moved = view.clone();
        let tag = earlier.lines[phone].field.tag;
        moved.server.as_mut().unwrap().fields.get_mut(&tag).unwrap().value = Value::text("777");
        assert_eq!(earlier.moved(&schema, &moved), 1);
        assert!(earlier.is_begun(), "it is kept that something has to be chosen again");
        let mut later = Decision::new(&schema, &moved, Side::Mine, locale()).unwrap();
        assert_eq!(later.take_over(&earlier), 1);
        assert_eq!((later.lines[phone].side, later.lines[phone].beforehand), (Side::None, false));
        // What nobody chose is as the settings are now, and not as they were.
        let mut before = Decision::new(&schema, &view, Side::Mine, locale()).unwrap();
        before.lines[phone].other = "begun".into();
        let mut now = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        assert_eq!(now.take_over(&before), 0);
        assert_eq!(now.lines[phone].side, Side::None);
    }

    #[test]
    fn in_a_duplicate_a_choice_holds_only_against_the_same_other_row() {
        let schema = schema();
        let view = duplicate(&schema);
        let mut earlier = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        earlier.choose(0, Side::Mine);
        let mut same = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        assert_eq!((same.take_over(&earlier), same.lines[0].side), (0, Side::Mine));
        let mut other = view.clone();
        other.server.as_mut().unwrap().key.id = RowId::from_bytes([7; 16]);
        let mut decision = Decision::new(&schema, &other, Side::None, locale()).unwrap();
        assert_eq!((decision.take_over(&earlier), decision.lines[0].side), (1, Side::None));
    }

    #[test]
    fn what_was_typed_means_the_same_in_another_language() {
        let schema = schema();
        let view = clash(&schema);
        let mut earlier = Decision::new(&schema, &view, Side::None, Locale { language: Language::French, ..locale() }).unwrap();
        let weight = at(&earlier, "weight_kg");
        earlier.lines[weight].merge = Merge::Conflict;
        earlier.type_in(weight, "1,5");
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        decision.take_over(&earlier);
        assert_eq!(decision.lines[weight].other, "1.5");
    }

    #[test]
    fn the_question_about_the_row_is_answered_for_the_row() {
        let schema = schema();
        let mut view = clash(&schema);
        view.conflict = Conflict { kind: ConflictKind::DeleteUpdate, fields: Vec::new() };
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        decision.decide_row(Side::Server);
        assert_eq!(decision.resolution(), Some(Resolution::AllServer));
        decision.decide_row(Side::Mine);
        assert_eq!(decision.resolution(), Some(Resolution::AllMine));
    }

    fn of_row(schema: &Schema, kind: ConflictKind) -> ConflictView {
        ConflictView { conflict: Conflict { kind, fields: Vec::new() }, ..clash(schema) }
    }

    /// A new patient whose phone another one has.
    fn duplicate(schema: &Schema) -> ConflictView {
        let mut view = clash(schema);
        let other = RowId(uuid::Uuid::from_u128(6));
        let phone = view.conflict.fields[0];
        let value = |text: &str| Edit { value: Value::text(text), base_value: None, base: Seq(0) };
        view.mine.op = Op::Create;
        view.mine.fields = view.mine.fields.keys().map(|tag| (*tag, value("222"))).collect();
        view.mine.review = Some(Review::Clash { field: phone, with: Some(other) });
        view.conflict.kind = ConflictKind::Unique;
        view.server.as_mut().unwrap().key.id = other;
        view
    }

    #[test]
    fn what_others_changed_in_a_row_that_i_deleted_is_at_stake_with_what_it_was_before() {
        let schema = schema();
        let mut view = of_row(&schema, ConflictKind::DeleteUpdate);
        view.mine.op = Op::Delete;
        let decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        let (phone, village, name) = (at(&decision, "phone"), at(&decision, "village"), at(&decision, "name"));
        let of = |line: usize| (decision.lines[line].merge, decision.lines[line].server.clone());
        assert_eq!(of(phone), (Merge::FromServer, Value::text("222")));
        assert_eq!(decision.lines[phone].base, Some(Value::text("000")), "known from the edit that the deletion swallowed");
        assert_eq!(of(village).0, Merge::Unchanged, "what the deletion swallowed is nobody's question");
        assert_eq!(of(name).0, Merge::Unchanged);
        // Without an edit of mine nothing is known of what was there before.
        view.mine.fields.clear();
        let decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        assert_eq!((decision.lines[phone].merge, &decision.lines[phone].base), (Merge::FromServer, &None));
        assert_eq!((decision.undecided(), decision.is_begun()), (1, false), "only the row is asked about");
    }

    #[test]
    fn a_question_about_the_row_is_not_answered_by_nobody() {
        let schema = schema();
        for kind in [ConflictKind::DeleteUpdate, ConflictKind::UpdateDelete] {
            let mut decision = Decision::new(&schema, &of_row(&schema, kind), Side::None, locale()).unwrap();
            assert_eq!((decision.undecided(), decision.resolution()), (1, None), "{kind:?}");
            decision.decide_row(Side::Mine);
            assert_eq!((decision.undecided(), decision.resolution()), (0, Some(Resolution::AllMine)), "{kind:?}");
        }
    }

    #[test]
    fn the_schema_says_which_side_is_chosen_beforehand() {
        let mut schema = schema();
        let view = clash(&schema);
        let table = schema.tables.iter().position(|table| table.tag == view.key.table).unwrap();
        for (preselect, default, side) in [
            (Preselect::Mine, Side::Server, Side::Mine),
            (Preselect::Server, Side::None, Side::Server),
            (Preselect::Nothing, Side::None, Side::None),
            (Preselect::Nothing, Side::Server, Side::Server),
        ] {
            schema.tables[table].preselect = preselect;
            let decision = Decision::new(&schema, &view, default, locale()).unwrap();
            let phone = &decision.lines[at(&decision, "phone")];
            assert_eq!((phone.side, phone.beforehand), (side, side != Side::None), "{preselect:?}");
            let mut chosen = decision.clone();
            chosen.choose(at(&decision, "phone"), Side::Mine);
            assert!(!chosen.lines[at(&decision, "phone")].beforehand, "the person chose");
            let row = Decision::new(&schema, &of_row(&schema, ConflictKind::DeleteUpdate), default, locale()).unwrap();
            let expected = match side {
                Side::Mine => Some(Resolution::AllMine),
                Side::Server => Some(Resolution::AllServer),
                _ => None,
            };
            assert_eq!(row.resolution(), expected, "{preselect:?}");
        }
    }

    #[test]
    fn a_row_that_is_deleted_meanwhile_is_not_brought_back_by_choices_about_its_fields() {
        let mut schema = schema();
        schema.tables.iter_mut().for_each(|table| table.preselect = Preselect::Mine);
        let mut decision = Decision::new(&schema, &clash(&schema), Side::None, locale()).unwrap();
        let (phone, village) = (at(&decision, "phone"), at(&decision, "village"));
        decision.choose(phone, Side::Mine);
        decision.choose(village, Side::Server);
        let mut gone = of_row(&schema, ConflictKind::UpdateDelete);
        gone.server.as_mut().unwrap().life = Life::Deleted;
        assert_eq!(decision.moved(&schema, &gone), 2, "it is another question now");
        assert_eq!((decision.undecided(), decision.resolution()), (1, None));
        decision.decide_row(Side::Server);
        // The tombstone moved once more.
        gone.server.as_mut().unwrap().seq = Seq(20);
        assert_eq!(decision.moved(&schema, &gone), 0, "what is shown is the same");
        let phone = gone.conflict.fields.first().copied().unwrap_or(FieldTag(2));
        let stamped = Stamped { value: Value::text("999"), stamp: Seq(21) };
        gone.server.as_mut().unwrap().fields.insert(phone, stamped);
        assert_eq!(decision.moved(&schema, &gone), 1);
        assert_eq!(decision.resolution(), None);
    }

    #[test]
    fn choices_that_do_not_hold_any_more_are_named_also_where_nothing_clashes() {
        let schema = schema();
        let view = clash(&schema);
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        let (phone, village, name) = (at(&decision, "phone"), at(&decision, "village"), at(&decision, "name"));
        decision.choose(phone, Side::Mine);
        decision.choose(village, Side::Server);
        decision.type_in(name, "Rosa");
        let mut moved = view.clone();
        for (line, value) in [(village, "Voi"), (name, "Rose-Marie")] {
            let stamped = Stamped { value: Value::text(value), stamp: Seq(12) };
            moved.server.as_mut().unwrap().fields.insert(decision.lines[line].field.tag, stamped);
        }
        moved.conflict.fields.push(decision.lines[village].field.tag);
        assert_eq!(decision.moved(&schema, &moved), 2);
        assert_eq!(decision.dropped(), [decision.lines[name].field.tag, decision.lines[village].field.tag]);
        assert_eq!(decision.lines[phone].side, Side::Mine);
        assert_eq!((decision.lines[name].side, decision.lines[name].other.as_str()), (Side::None, "Rosa"), "the text is kept");
        assert_eq!(decision.lines[village].side, Side::None);
        assert_eq!(decision.undecided(), 1);
    }

    #[test]
    fn a_duplicate_is_about_its_field_and_never_decided_beforehand() {
        let mut schema = schema();
        schema.tables.iter_mut().for_each(|table| table.preselect = Preselect::Mine);
        let view = duplicate(&schema);
        let mut decision = Decision::new(&schema, &view, Side::Mine, locale()).unwrap();
        let (phone, village) = (at(&decision, "phone"), at(&decision, "village"));
        assert_eq!(decision.undecided(), 1, "mine would take the value from a row that nobody looked at");
        assert_eq!(decision.lines[village].merge, Merge::Unchanged, "the other row is another one");
        assert!(!decision.lines.iter().any(|line| line.field.name == "name"), "of a field not in the change nothing is known");
        decision.choose(village, Side::Server);
        decision.type_in(village, "Voi");
        decision.type_in(phone, "333");
        let Some(Resolution::Fields(choices)) = decision.resolution() else { panic!("by field") };
        assert_eq!(choices.len(), 1, "the other row's fields are not to be chosen");
        let values = applied(&schema, &view, &decision.resolution().unwrap());
        assert_eq!((&values["phone"], &values["village"]), (&Value::text("333"), &Value::text("222")));
    }

    #[test]
    fn a_new_row_is_given_up_only_where_that_is_said() {
        let mut schema = schema();
        let view = duplicate(&schema);
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        let phone = at(&decision, "phone");
        decision.choose_all(Side::Server);
        let left = applied(&schema, &view, &decision.resolution().unwrap());
        assert_eq!(left.len(), 1, "the row stays, without the value");
        decision.decide_row(Side::Server);
        assert_eq!(decision.resolution(), Some(Resolution::AllServer));
        assert_eq!(applied(&schema, &view, &Resolution::AllServer).len(), 0);
        decision.choose(phone, Side::Mine);
        assert!(matches!(decision.resolution(), Some(Resolution::Fields(_))), "said otherwise after that");
        decision.decide_row(Side::Server);
        decision.choose_all(Side::Server);
        assert!(matches!(decision.resolution(), Some(Resolution::Fields(_))), "said otherwise after that");
        // Where the row must have a value, it cannot be left to the other row.
        for table in &mut schema.tables {
            table.fields.iter_mut().for_each(|field| field.required = true);
        }
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        assert!(!decision.can_yield());
        decision.choose(phone, Side::Server);
        assert_eq!((decision.lines[phone].side, decision.resolution()), (Side::None, None), "it is not offered");
        decision.choose_all(Side::Server);
        assert_eq!((decision.wrong(phone), decision.resolution()), (Some(Wrong::Required), None));
        decision.decide_row(Side::Server);
        assert_eq!(decision.resolution(), Some(Resolution::AllServer), "it can be dropped");
    }

    #[test]
    fn what_becomes_of_the_other_row_is_what_the_engine_makes_of_it() {
        let mut schema = schema();
        let view = duplicate(&schema);
        let takes = |schema: &Schema| Decision::new(schema, &view, Side::None, locale()).unwrap().takes();
        let of = |schema: &mut Schema, change: fn(&mut Field)| {
            schema.tables.iter_mut().flat_map(|table| &mut table.fields).for_each(change);
        };
        assert_eq!(takes(&schema), Taking::Empties);
        of(&mut schema, |field| field.required = true);
        assert_eq!(takes(&schema), Taking::Renames);
        of(&mut schema, |field| field.choices = vec!["222".to_owned()]);
        assert_eq!(takes(&schema), Taking::Refused, "a choice has no number behind it");
        of(&mut schema, |field| (field.kind, field.choices) = (Kind::Int, Vec::new()));
        assert_eq!(takes(&schema), Taking::Refused);
    }

    #[test]
    fn what_came_from_the_server_is_shown_and_can_be_overruled() {
        let schema = schema();
        let mut view = clash(&schema);
        let table = schema.table(view.key.table).unwrap();
        let notes = table.field_named("notes").unwrap().tag;
        view.server.as_mut().unwrap().fields.insert(notes, Stamped { value: Value::text("allergic"), stamp: Seq(9) });
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        let (name, phone, notes) = (at(&decision, "name"), at(&decision, "phone"), at(&decision, "notes"));
        assert_eq!((decision.lines[notes].merge, &decision.lines[notes].base), (Merge::FromServer, &None));
        assert_eq!(decision.lines[name].merge, Merge::Unchanged, "not newer than what the person saw");
        let whole = ConflictView { conflict: of_row(&schema, ConflictKind::UpdateDelete).conflict, ..view.clone() };
        let whole = Decision::new(&schema, &whole, Side::None, locale()).unwrap();
        assert_eq!(whole.lines[notes].merge, Merge::Unchanged, "nothing is merged where the row is the question");
        decision.choose(phone, Side::Server);
        decision.choose(notes, Side::Mine);
        assert_eq!(decision.lines[notes].side, Side::None, "nobody knows what it was");
        assert_eq!(applied(&schema, &view, &decision.resolution().unwrap()).get("notes"), None);
        decision.choose(notes, Side::Other);
        assert_eq!(decision.lines[notes].other, "allergic", "typing begins with what stands");
        decision.type_in(notes, "not allergic");
        assert_eq!(applied(&schema, &view, &decision.resolution().unwrap())["notes"], Value::text("not allergic"));
    }

    #[test]
    fn what_only_others_changed_can_be_put_back_where_it_is_known_what_it_was() {
        let schema = schema();
        let mut view = clash(&schema);
        let table = schema.table(view.key.table).unwrap();
        let tag = table.field_named("notes").unwrap().tag;
        view.server.as_mut().unwrap().fields.insert(tag, Stamped { value: Value::text("allergic"), stamp: Seq(9) });
        view.replaced.insert(tag, Value::text("allergic"));
        let decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        assert_eq!(decision.lines[at(&decision, "notes")].merge, Merge::Unchanged, "the person saw it as it is");
        view.replaced.insert(tag, Value::text("none known"));
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        let (phone, notes) = (at(&decision, "phone"), at(&decision, "notes"));
        let line = &decision.lines[notes];
        assert_eq!((line.base.as_ref(), &line.mine), (Some(&Value::text("none known")), &Value::text("none known")));
        decision.choose_all(Side::Mine);
        assert_eq!(decision.lines[notes].side, Side::None, "mine is only what I changed");
        decision.choose(notes, Side::Mine);
        assert!(decision.is_begun());
        let put_back = applied(&schema, &view, &decision.resolution().unwrap());
        assert_eq!((&put_back["phone"], &put_back["notes"]), (&Value::text("111"), &Value::text("none known")));
        decision.choose_all(Side::Server);
        decision.choose(phone, Side::Mine);
        assert_eq!(applied(&schema, &view, &decision.resolution().unwrap()).get("notes"), None, "the server's stays");
    }

    #[test]
    fn a_group_that_others_changed_is_put_back_only_where_all_of_it_is_known() {
        let schema = schema();
        let table = schema.table_named("medications").unwrap();
        let tag = |name: &str| table.field_named(name).unwrap().tag;
        let mut view = clash(&schema);
        view.key.table = table.tag;
        let server = view.server.as_mut().unwrap();
        server.key = view.key;
        let dose = Stamped { value: Value::Decimal(10), stamp: Seq(9) };
        server.fields = BTreeMap::from([
            (tag("name"), Stamped { value: Value::text("theirs"), stamp: Seq(9) }),
            (tag("dose"), dose),
            (tag("unit"), Stamped { value: Value::text("g"), stamp: Seq(9) }),
        ]);
        view.mine.fields = BTreeMap::from([(tag("name"), edit("mine", "before", 2))]);
        view.conflict.fields = vec![tag("name")];
        view.replaced.insert(tag("dose"), Value::Decimal(5));
        let mut decision = Decision::new(&schema, &view, Side::Mine, locale()).unwrap();
        let dose = at(&decision, "dose");
        assert!(!decision.can_be_mine(dose));
        decision.choose(dose, Side::Mine);
        assert_eq!(applied(&schema, &view, &decision.resolution().unwrap()).get("dose"), None, "5 g is a dose of nobody");
        view.replaced.insert(tag("unit"), Value::text("mg"));
        let mut decision = Decision::new(&schema, &view, Side::Mine, locale()).unwrap();
        decision.choose(dose, Side::Mine);
        let put_back = applied(&schema, &view, &decision.resolution().unwrap());
        assert_eq!((&put_back["dose"], &put_back["unit"]), (&Value::Decimal(5), &Value::text("mg")));
    }

    #[test]
    fn another_value_that_was_not_edited_is_the_one_it_began_with() {
        let mut schema = schema();
        let mut view = clash(&schema);
        let table = schema.tables.iter_mut().find(|table| table.tag == view.key.table).unwrap();
        let field = table.fields.iter_mut().find(|field| field.name == "phone").unwrap();
        field.kind = Kind::Timestamp { unit: TimeUnit::Seconds };
        let tag = field.tag;
        let mine = view.mine.fields.get_mut(&tag).unwrap();
        (mine.value, mine.base_value) = (Value::Timestamp(1_717_165_815), Some(Value::Null));
        view.server.as_mut().unwrap().fields.insert(tag, Stamped { value: Value::Timestamp(7), stamp: Seq(9) });
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        let phone = at(&decision, "phone");
        decision.choose(phone, Side::Other);
        assert_eq!(decision.lines[phone].other, "2024-05-31 14:30");
        assert_eq!(applied(&schema, &view, &decision.resolution().unwrap())["phone"], Value::Timestamp(1_717_165_815));
    }

    #[test]
    fn all_mine_takes_back_what_was_overruled() {
        let schema = schema();
        let view = clash(&schema);
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        let village = at(&decision, "village");
        decision.choose(village, Side::Server);
        decision.choose_all(Side::Mine);
        let values = applied(&schema, &view, &decision.resolution().unwrap());
        assert_eq!((&values["phone"], &values["village"]), (&Value::text("111"), &Value::text("Kilifi")));
        decision.choose_all(Side::Server);
        let values = applied(&schema, &view, &decision.resolution().unwrap());
        assert_eq!(
            (values.get("phone"), &values["village"]),
            (None, &Value::text("Kilifi")),
            "what does not clash is not given up"
        );
    }

    #[test]
    fn a_group_is_decided_together_and_a_typed_value_stands_beside_a_side() {
        let schema = schema();
        let table = schema.table_named("medications").unwrap();
        let (dose, unit) = (table.field_named("dose").unwrap().tag, table.field_named("unit").unwrap().tag);
        let mut view = clash(&schema);
        view.key.table = table.tag;
        let edit = |value: Value, base: Value| Edit { value, base_value: Some(base), base: Seq(2) };
        view.mine.fields = BTreeMap::from([
            (dose, edit(Value::Decimal(10_000), Value::Decimal(5_000))),
            (unit, edit(Value::text("mg"), Value::text("mg"))),
        ]);
        let stamped = |value, seq| Stamped { value, stamp: Seq(seq) };
        view.server.as_mut().unwrap().fields =
            BTreeMap::from([(dose, stamped(Value::Decimal(5_000), 2)), (unit, stamped(Value::text("g"), 9))]);
        view.conflict = outbox::conflict(table, &view.mine, view.server.as_ref()).unwrap();
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        let (dose, unit) = (at(&decision, "dose"), at(&decision, "unit"));
        assert_eq!((decision.undecided(), decision.lines[dose].group.as_str()), (2, "Unit"));
        let mut typed = decision.clone();
        typed.type_in(dose, "7");
        assert_eq!((typed.undecided(), typed.lines[unit].side), (0, Side::Mine), "the rest of the group is mine then");
        decision.choose(unit, Side::Mine);
        assert_eq!(decision.undecided(), 0);
        let values = applied(&schema, &view, &decision.resolution().unwrap());
        assert_eq!((&values["dose"], &values["unit"]), (&Value::Decimal(10_000), &Value::text("mg")));
        decision.choose(dose, Side::Server);
        assert_eq!(applied(&schema, &view, &decision.resolution().unwrap()).len(), 0);
        decision.type_in(dose, "0,01");
        let values = applied(&schema, &view, &decision.resolution().unwrap());
        assert_eq!((&values["dose"], &values["unit"]), (&Value::Decimal(10), &Value::text("g")));
        // A choice of another kind than text is given as it is.
        decision.choose_value(unit, &Value::text("µg"));
        assert_eq!(applied(&schema, &view, &decision.resolution().unwrap())["unit"], Value::text("µg"));
    }

    #[test]
    fn of_a_group_that_was_overruled_no_half_is_taken_over() {
        let schema = schema();
        let table = schema.table_named("medications").unwrap();
        let tag = |name| table.field_named(name).unwrap().tag;
        let mut view = clash(&schema);
        view.key.table = table.tag;
        let edit = |value: Value, base: Value| Edit { value, base_value: Some(base), base: Seq(2) };
        view.mine.fields = BTreeMap::from([
            (tag("dose"), edit(Value::Decimal(10_000), Value::Decimal(5_000))),
            (tag("unit"), edit(Value::text("mg"), Value::text("g"))),
        ]);
        view.conflict.fields.clear();
        let mut earlier = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        let (dose, unit) = (at(&earlier, "dose"), at(&earlier, "unit"));
        earlier.choose(dose, Side::Server);
        assert_eq!((earlier.lines[dose].side, earlier.lines[unit].side), (Side::Server, Side::Server));
        view.mine.fields.insert(tag("unit"), edit(Value::text("µg"), Value::text("g")));
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        assert_eq!(decision.take_over(&earlier), 2);
        assert_eq!((decision.lines[dose].side, decision.lines[unit].side), (Side::Mine, Side::Mine));
    }

    #[test]
    fn mine_is_empty_where_my_new_row_left_it_empty() {
        let mut schema = schema();
        let mut view = clash(&schema);
        let table = schema.table(view.key.table).unwrap();
        (view.mine.op, view.mine.row_base) = (Op::Create, Seq(0));
        let name = table.field_named("name").unwrap().tag;
        view.mine.fields = BTreeMap::from([(name, Edit { value: Value::text("Rose"), base_value: None, base: Seq(0) })]);
        view.conflict = outbox::conflict(table, &view.mine, view.server.as_ref()).unwrap();
        assert_eq!(view.conflict.kind, ConflictKind::CreateCreate);
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        let (phone, village) = (at(&decision, "phone"), at(&decision, "village"));
        decision.choose(phone, Side::Mine);
        decision.choose(village, Side::Server);
        assert_eq!(decision.lines[phone].mine, Value::Null);
        let values = applied(&schema, &view, &decision.resolution().unwrap());
        assert_eq!((values.get("phone"), values.get("village")), (Some(&Value::Null), None), "as it is shown");
        let table = schema.tables.iter_mut().find(|table| table.tag == view.key.table).unwrap();
        table.fields.iter_mut().for_each(|field| field.required = true);
        let mut decision = Decision::new(&schema, &view, Side::None, locale()).unwrap();
        decision.choose(phone, Side::Mine);
        assert_eq!(decision.wrong(phone), Some(Wrong::Required));
    }
}
