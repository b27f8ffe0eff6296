//! What a person decides about a row in conflict, field by field.

use super::values::{Locale, Wrong};
use similar::{ChangeTag, TextDiff};
use std::collections::BTreeMap;
use tombolo_client::protocol::ids::{FieldTag, RowKey};
use tombolo_client::protocol::outbox::{Choice, ConflictKind, Resolution};
use tombolo_client::protocol::row::Row;
use tombolo_client::protocol::schema::{Field, Preselect, Schema, Table};
use tombolo_client::protocol::value::Value;
use tombolo_client::view::ConflictView;

/// Texts from this length on are shown with their differing words marked.
const LONG: usize = 40;

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
    /// The person did not touch it.
    Unchanged,
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
    /// What was typed for [`Side::Other`].
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
    /// The server's row as it is shown; what a decision is based on.
    pub server: Option<Row>,
    /// Who changed the server's side, and when.
    pub author: Option<(String, i64)>,
    units: BTreeMap<FieldTag, Vec<FieldTag>>,
    locale: Locale,
}

impl Decision {
    /// The decision of a conflict. `default` is the side that is chosen beforehand where the schema says nothing.
    pub fn new(schema: &Schema, view: &ConflictView, default: Side, locale: Locale) -> Option<Self> {
        let table = schema.table(view.key.table)?;
        let mut decision = Self {
            key: view.key,
            kind: view.conflict.kind,
            lines: table.fields.iter().map(|field| line(table, field, view)).collect(),
            server: view.server.clone(),
            author: view.author.as_ref().map(|author| (author.name.clone(), author.at_ms)),
            units: table.fields.iter().map(|field| (field.tag, table.unit(&field.tag).to_vec())).collect(),
            locale,
        };
        let beforehand = match table.preselect {
            Preselect::Mine => Side::Mine,
            Preselect::Server => Side::Server,
            Preselect::Nothing => default,
        };
        for line in decision.lines.iter_mut().filter(|line| line.merge == Merge::Conflict) {
            line.side = beforehand;
        }
        Some(decision)
    }

    /// Whether the row as such is the question, and not its fields.
    pub fn about_row(&self) -> bool {
        matches!(self.kind, ConflictKind::DeleteUpdate | ConflictKind::UpdateDelete)
    }

    /// Chooses a side for a field, and for the members of its group.
    pub fn choose(&mut self, at: usize, side: Side) {
        let Some(line) = self.lines.get(at) else { return };
        let unit = self.units.get(&line.field.tag).cloned().unwrap_or_default();
        let tag = line.field.tag;
        for line in self.lines.iter_mut().filter(|line| unit.contains(&line.field.tag)) {
            // A typed value may stand beside either side of its group.
            if side == Side::Other && line.field.tag != tag {
                if line.side == Side::None {
                    line.side = Side::Mine;
                }
                continue;
            }
            if side == Side::Other && line.side != Side::Other {
                let beginning = if line.side == Side::Server { &line.server } else { &line.mine };
                line.other = self.locale.show(&line.field, beginning);
            }
            line.side = side;
        }
    }

    /// Types another value.
    pub fn type_in(&mut self, at: usize, text: &str) {
        if let Some(line) = self.lines.get_mut(at) {
            line.side = Side::Other;
            line.other = text.to_owned();
        }
    }

    /// One side for all fields in conflict.
    pub fn choose_all(&mut self, side: Side) {
        for line in self.lines.iter_mut().filter(|line| line.merge == Merge::Conflict) {
            line.side = side;
        }
    }

    /// What is wrong with a typed value.
    pub fn wrong(&self, at: usize) -> Option<Wrong> {
        let line = self.lines.get(at)?;
        if line.side != Side::Other {
            return None;
        }
        self.locale.read(&line.field, &line.other).err()
    }

    /// Fields that still have to be decided, or whose typed value is wrong.
    pub fn undecided(&self) -> usize {
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
        if self.about_row() {
            let mine = self.lines.iter().all(|line| line.side != Side::Server);
            return Some(if mine { Resolution::AllMine } else { Resolution::AllServer });
        }
        let mut choices = BTreeMap::new();
        for line in &self.lines {
            let choice = match (line.merge, line.side) {
                (_, Side::Other) => Choice::Value(self.locale.read(&line.field, &line.other).ok()?),
                (Merge::Conflict, Side::Mine) => Choice::Mine,
                (Merge::Conflict | Merge::FromMine, Side::Server) => Choice::Server,
                // What merged by itself is named only where it was overruled.
                _ => continue,
            };
            choices.insert(line.field.tag, choice);
        }
        Some(Resolution::Fields(choices))
    }

    /// Answers the question about the row as such.
    pub fn decide_row(&mut self, side: Side) {
        self.lines.iter_mut().for_each(|line| line.side = side);
    }

    /// The row moved while it was being decided. Choices of fields that are as they were are kept; returns how many others have
    /// to be made again.
    pub fn moved(&mut self, schema: &Schema, view: &ConflictView) -> usize {
        let Some(mut fresh) = Self::new(schema, view, Side::None, self.locale.clone()) else { return 0 };
        let mut dropped = 0;
        for line in &mut fresh.lines {
            let Some(before) = self.lines.iter().find(|before| before.field.tag == line.field.tag) else { continue };
            if (&before.mine, &before.server) == (&line.mine, &line.server) {
                line.side = before.side;
                line.other.clone_from(&before.other);
                if line.merge == Merge::Conflict && before.merge != Merge::Conflict {
                    line.side = Side::None;
                }
            } else if before.merge == Merge::Conflict && before.side != Side::None {
                dropped += 1;
                line.side = if line.merge == Merge::Conflict { Side::None } else { line.side };
            }
        }
        *self = fresh;
        dropped
    }
}

fn line(table: &Table, field: &Field, view: &ConflictView) -> Line {
    let edit = view.mine.fields.get(&field.tag);
    let server = view.server.as_ref().map(|row| row.value(field.tag).clone()).unwrap_or_default();
    let conflict = view.conflict.fields.contains(&field.tag);
    let merge = match edit {
        _ if conflict => Merge::Conflict,
        Some(edit) if edit.value != server => Merge::FromMine,
        _ => Merge::Unchanged,
    };
    let unit = table.unit(&field.tag);
    let others = unit.iter().filter(|tag| **tag != field.tag).filter_map(|tag| Some(table.field(*tag)?.label.clone()));
    Line {
        field: field.clone(),
        base: edit.map_or_else(|| Some(server.clone()), |edit| edit.base_value.clone()),
        mine: edit.map_or_else(|| server.clone(), |edit| edit.value.clone()),
        server,
        merge,
        side: if merge == Merge::FromMine { Side::Mine } else { Side::None },
        other: String::new(),
        group: others.collect::<Vec<_>>().join(", "),
    }
}

/// A piece of a text that was compared with another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// In both.
    Same,
    /// Not in this text any more.
    Removed,
    /// Only in this text.
    Added,
}

/// Whether a text is long enough to have its words compared.
pub fn is_long(text: &str) -> bool {
    text.chars().count() >= LONG
}

/// The words of `text` beside those of `base`.
pub fn words(base: &str, text: &str) -> Vec<(Piece, String)> {
    let mut pieces: Vec<(Piece, String)> = Vec::new();
    for change in TextDiff::from_words(base, text).iter_all_changes() {
        let piece = match change.tag() {
            ChangeTag::Equal => Piece::Same,
            ChangeTag::Delete => Piece::Removed,
            ChangeTag::Insert => Piece::Added,
        };
        match pieces.last_mut().filter(|last| last.0 == piece) {
            Some(last) => last.1.push_str(change.value()),
            None => pieces.push((piece, change.value().to_owned())),
        }
    }
    pieces.iter_mut().for_each(|piece| piece.1 = piece.1.trim().to_owned());
    pieces.retain(|piece| !piece.1.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presenters::values::Language;
    use jiff::tz::TimeZone;
    use tombolo_client::protocol::change::Op;
    use tombolo_client::protocol::ids::{RowId, RowNo, Seq, Version};
    use tombolo_client::protocol::outbox::{Conflict, Edit, Entry, Pending, resolve};
    use tombolo_client::protocol::row::{Life, Row, Stamped};
    use tombolo_client::protocol::schema::CLINIC;

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
        ConflictView { key, conflict, mine, server: Some(server), author: None, lost: Vec::new() }
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
        assert_eq!(decision.server, moved.server, "the decision is based on the new row");
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

    #[test]
    fn words_that_differ_are_marked() {
        let pieces = words("she takes two tablets a day", "she takes three tablets a day");
        assert_eq!(
            pieces,
            [
                (Piece::Same, "she takes".to_owned()),
                (Piece::Removed, "two".to_owned()),
                (Piece::Added, "three".to_owned()),
                (Piece::Same, "tablets a day".to_owned())
            ]
        );
    }
}
