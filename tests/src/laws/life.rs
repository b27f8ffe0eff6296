//! One entry from the first edit to the last answer, with somebody else at the server: edits, pushes, answers and pulls in any
//! order. Only pure functions: the interleavings of [`crate::interleavings`] do the same with whole programs.

use super::ground::{FIELDS, Story, key, row, table};
use super::{Choices, Law, law};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_client::protocol::admit::{Decision, Facts, admit};
use tombolo_client::protocol::change::{Change, Effect, Op, Verdict};
use tombolo_client::protocol::ids::{FieldTag, PushNo, Seq};
use tombolo_client::protocol::outbox::{ConflictKind, Sent, Write, change_of, lift, settle};
use tombolo_client::protocol::row::{Life, Row, Stamped};
use tombolo_client::protocol::schema::Table;
use tombolo_client::protocol::value::Value;

pub(super) const LAWS: &[Law] = &[
    law("life: nothing is overwritten or deleted that its author had not seen", 96, nothing_unseen_is_overwritten),
    law("life: what was typed last is at the server, or is asked about", 96, nothing_typed_is_lost),
];

/// A person's entry and the server's row. Every value is written once, so that it says who wrote it.
struct Line {
    table: &'static Table,
    server: Row,
    /// The newest commit; a push is one also where it changes nothing.
    head: Seq,
    story: Story,
    complete: Seq,
    change: Option<Change>,
    answer: Option<(Verdict, Seq)>,
    written: u64,
    /// Values that the person has been shown before the last write.
    seen: BTreeSet<Named>,
    /// What the person typed last, by field.
    typed: BTreeMap<FieldTag, Value>,
    /// Values that the server's row ever had.
    ever: BTreeSet<Named>,
}

/// A field and a value, as something with an order.
type Named = (FieldTag, String);

fn named(field: FieldTag, value: &Value) -> Named {
    (field, format!("{value:?}"))
}

impl Line {
    fn new(c: &mut Choices<'_>) -> Self {
        let server = row(c, 5);
        let table = table(c);
        let story = Story::new(table, Some(server.clone()));
        let ever = server.fields.iter().map(|(field, stamped)| named(*field, &stamped.value)).collect();
        let complete = server.seq;
        let (head, change, answer, written) = (server.seq, None, None, 0);
        Self {
            table,
            server,
            head,
            story,
            complete,
            change,
            answer,
            written,
            seen: BTreeSet::new(),
            typed: BTreeMap::new(),
            ever,
        }
    }

    fn fresh(&mut self, by: &str) -> Value {
        self.written += 1;
        Value::text(&format!("{by}{}", self.written))
    }

    fn look(&mut self) {
        let shown = self.story.shown().unwrap_or_default();
        self.seen.extend(shown.iter().map(|(field, value)| named(*field, value)));
    }

    /// A step of the person, the link or somebody else.
    fn step(&mut self, c: &mut Choices<'_>) -> Result<()> {
        match c.below(10) {
            0..=2 => self.edit(c),
            3 => self.delete(),
            4 => self.push(),
            5 => self.decide()?,
            6 => self.hear(),
            7 => self.pull(),
            _ => self.somebody_else(c),
        }
        Ok(())
    }

    fn edit(&mut self, c: &mut Choices<'_>) {
        self.look();
        let (field, value) = (c.pick(&FIELDS), self.fresh("mine"));
        if self.story.write(Write::Update([(field, value.clone())].into())).is_ok() {
            self.typed.insert(field, value);
        }
    }

    fn delete(&mut self) {
        self.look();
        if self.story.write(Write::Delete).is_ok() {
            self.typed.clear();
        }
    }

    fn push(&mut self) {
        let entry = &mut self.story.entry;
        if entry.sent.is_some() || self.story.conflict().is_some() {
            return;
        }
        let entry = &mut self.story.entry;
        let (Some(mut pending), Some(mirror)) = (entry.next.take(), &self.story.mirror) else { return };
        lift(&mut pending, mirror, Some(self.complete));
        self.change = Some(change_of(key(), &pending, self.complete, None));
        entry.sent = Some(Sent { number: PushNo(1), generation: entry.generation, view_base: self.complete, pending });
    }

    /// The server decides what arrived, and the oracle looks at what it does.
    fn decide(&mut self) -> Result<()> {
        let Some(change) = self.change.take() else { return Ok(()) };
        let initial = BTreeMap::new();
        let facts = Facts {
            table: self.table,
            row: Some(&self.server),
            visible: true,
            may_write: true,
            may_write_scope: &|_| true,
            initial: &initial,
        };
        self.head = self.head.next();
        let seq = self.head;
        self.answer = Some(match admit(&facts, &change) {
            Decision::Verdict(verdict) => (verdict, seq),
            Decision::Stands { effect, merged } => {
                if let Some(effect) = effect {
                    self.happens(&effect, seq)?;
                }
                (Verdict::Accepted { merged }, seq)
            }
        });
        Ok(())
    }

    fn happens(&mut self, effect: &Effect, seq: Seq) -> Result<()> {
        let touched: Vec<FieldTag> = match (effect.op, self.table.strict) {
            (Op::Delete, _) | (_, true) => FIELDS.to_vec(),
            _ => effect.fields.iter().map(|(field, _)| *field).collect(),
        };
        for field in touched {
            let old = self.server.value(field);
            let is_theirs = matches!(old, Value::Text(text) if text.starts_with("theirs"));
            ensure!(
                !is_theirs || self.seen.contains(&named(field, old)),
                "{effect:?} replaces {old:?} of {field}, which nobody was shown: {:?}",
                self.story
            );
        }
        self.write_row(effect.op, effect.fields.iter().cloned(), seq);
        Ok(())
    }

    fn write_row(&mut self, op: Op, fields: impl Iterator<Item = (FieldTag, Value)>, seq: Seq) {
        for (field, value) in fields {
            self.ever.insert(named(field, &value));
            self.server.fields.insert(field, Stamped { value, stamp: seq });
        }
        self.server.seq = seq;
        if op == Op::Delete {
            self.server.life = Life::Deleted;
        } else if op == Op::Restore {
            (self.server.life, self.server.since) = (Life::Live, seq);
        }
    }

    /// The answer comes, with the row as it is now.
    fn hear(&mut self) {
        let Some((verdict, seq)) = self.answer.take() else { return };
        let Some(base) = self.story.entry.sent.as_ref().map(|sent| sent.view_base) else { return };
        let state = self.server.since_base(base);
        let settled = settle(self.table, &mut self.story.entry, &verdict, seq, Some(&state));
        self.story.settled.extend(settled);
        self.story.mirror = Some(self.server.clone());
    }

    /// What changed comes behind the answers that are recorded, never ahead of them.
    fn pull(&mut self) {
        self.hear();
        self.story.mirror = Some(self.server.clone());
        self.complete = self.head;
    }

    fn somebody_else(&mut self, c: &mut Choices<'_>) {
        let field = c.pick(&FIELDS);
        if !self.server.is_live() {
            return;
        }
        self.head = self.head.next();
        let seq = self.head;
        if c.chance(10) {
            self.write_row(Op::Delete, std::iter::empty(), seq);
        } else {
            let value = self.fresh("theirs");
            self.write_row(Op::Update, std::iter::once((field, value)), seq);
        }
    }

    /// Everything arrives that is under way, until nothing more goes.
    fn heal(&mut self) -> Result<()> {
        for _ in 0..8 {
            self.decide()?;
            self.hear();
            self.pull();
            if self.story.entry.is_empty() || self.story.conflict().is_some() {
                return Ok(());
            }
            self.push();
        }
        anyhow::bail!("it never comes to rest: {:?} at {:?}", self.story, self.server)
    }
}

fn played(c: &mut Choices<'_>) -> Result<Line> {
    let mut line = Line::new(c);
    for _ in 0..c.below(20) {
        line.step(c)?;
    }
    line.heal()?;
    Ok(line)
}

fn nothing_unseen_is_overwritten(c: &mut Choices<'_>) -> Result<()> {
    let line = played(c)?;
    let Some(asked) = line.story.conflict() else {
        ensure!(line.story.mirror.as_ref() == Some(&line.server), "{:?} is not {:?}", line.story, line.server);
        return Ok(());
    };
    // What is asked about differs, or the row as such is the question.
    let next = line.story.entry.next.as_ref().context("a question about nothing")?;
    let differs = |field: &FieldTag| next.fields.get(field).is_some_and(|edit| line.server.value(*field) != &edit.value);
    let is_real = asked.kind != ConflictKind::UpdateUpdate || asked.fields.iter().any(differs);
    ensure!(is_real, "{asked:?} about nothing: {:?} at {:?}", line.story, line.server);
    Ok(())
}

fn nothing_typed_is_lost(c: &mut Choices<'_>) -> Result<()> {
    let line = played(c)?;
    for (field, value) in &line.typed {
        let is_asked = line.story.entry.next.as_ref().and_then(|next| next.fields.get(field)).map(|edit| &edit.value);
        let is_there = line.ever.contains(&named(*field, value));
        ensure!(is_there || is_asked == Some(value), "{value:?} of {field} is lost: {:?} at {:?}", line.story, line.server);
    }
    Ok(())
}
