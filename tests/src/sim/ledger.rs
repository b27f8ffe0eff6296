//! What people did and saw: the only witness that is not the code under test.

use std::collections::{BTreeMap, BTreeSet};
use tombolo_client::protocol::ids::{FieldTag, GroupId, RowKey, Seq};
use tombolo_client::protocol::value::Value;

/// A value in its canonical form, so that it can be looked up.
pub type Content = Vec<u8>;
/// A field of a row.
pub type Place = (RowKey, FieldTag);

/// The canonical form of a value.
pub fn content(value: &Value) -> Content {
    let mut bytes = Vec::new();
    value.canonical(&mut bytes);
    bytes
}

/// The ledger. Stores are named by the place of their device in the world.
#[derive(Default)]
pub struct Ledger {
    /// The newest value that a store accepted for a field, while its owner has not taken it back; and beside a value typed in
    /// a decision, the edit that lost to it.
    pub standing: BTreeSet<(usize, RowKey, FieldTag, Content)>,
    /// Values that stood at a store at any time.
    stood: BTreeSet<(usize, RowKey, FieldTag, Content)>,
    /// Values that a person at a store was shown of a field before they wrote or decided there.
    seen: BTreeMap<(usize, RowKey, FieldTag), BTreeSet<Content>>,
    newly_seen: Vec<((usize, RowKey, FieldTag), Content)>,
    /// Who wrote a value that nobody else writes, and how often it may come into the log.
    pub written: BTreeMap<(Place, Content), u32>,
    /// Fields that somebody set back to an older value: there a value says nothing about who wrote it.
    pub ambiguous: BTreeSet<Place>,
    /// Fields of which an older value came back into the log: having seen it says nothing of when.
    pub came_back: BTreeSet<Place>,
    /// Rows that a store wrote to from a form which was older than what it showed elsewhere.
    pub old_forms: BTreeSet<(usize, RowKey)>,
    /// Rows that somebody restored, created again, or decided to keep.
    pub revived: BTreeSet<RowKey>,
    /// Rows that a person at a store deleted and has not taken back.
    pub deletions: BTreeSet<(usize, RowKey)>,
    /// Deletions of a store that a restore of the server undid, while nobody there has decided about them; and the last commit
    /// that the restore left.
    pub undone: BTreeMap<(usize, RowKey), Seq>,
    /// Rows whose creation a store has sent, since it was last put back.
    pub sent_creates: BTreeSet<(usize, RowKey)>,
    /// Rows whose deletion a person accepted, with an edit that lost by it.
    pub let_go: BTreeSet<(usize, RowKey)>,
    /// Rows to which a person wrote while a form of them is open that does not show it.
    pub written_behind: BTreeSet<(usize, RowKey)>,
    /// Rows of which a person took a change back, or decided it, that an open form shows.
    pub taken_back: BTreeSet<(usize, RowKey)>,
    /// Groups that nobody touched since they were made.
    pub groups: BTreeMap<GroupId, Group>,
    /// Stores whose past is not whole: they were put back.
    pub put_back: BTreeSet<usize>,
    /// Stores that share a past with another, or with a server that was put back: what comes out of an earlier life of theirs
    /// may be asked about again.
    pub earlier_lives: BTreeSet<usize>,
}

/// A group as it was made.
#[derive(Clone, Debug)]
pub struct Group {
    /// The store.
    pub store: usize,
    /// What it writes.
    pub writes: BTreeMap<Place, Content>,
}

/// What the ledger has of some rows of a store.
#[derive(Clone, Debug)]
pub struct Account {
    /// The rows.
    pub keys: BTreeSet<RowKey>,
    standing: BTreeSet<(usize, RowKey, FieldTag, Content)>,
    deletions: BTreeSet<(usize, RowKey)>,
    undone: BTreeMap<(usize, RowKey), Seq>,
}

impl Ledger {
    /// What stands of these rows of a store.
    pub fn account(&self, store: usize, keys: BTreeSet<RowKey>) -> Account {
        let is_of = |of: usize, key: &RowKey| of == store && keys.contains(key);
        let standing = self.standing.iter().filter(|(of, key, ..)| is_of(*of, key)).cloned().collect();
        let deletions = self.deletions.iter().filter(|(of, key)| is_of(*of, key)).copied().collect();
        let undone = self.undone.iter().filter(|((of, key), _)| is_of(*of, key)).map(|(place, seq)| (*place, *seq)).collect();
        Account { keys, standing, deletions, undone }
    }

    /// What these rows lost since this account was taken.
    pub fn gone(&self, account: Account) -> Account {
        let Account { keys, standing, deletions, undone } = account;
        let standing = standing.into_iter().filter(|edit| !self.standing.contains(edit)).collect();
        Account { keys, standing, deletions, undone }
    }

    /// It was put back, and stands again.
    pub fn is_back(&mut self, account: Account) {
        let Account { standing, deletions, undone, .. } = account;
        self.standing.extend(standing);
        self.deletions.extend(deletions);
        self.undone.extend(undone);
    }

    /// A person at a store was shown this.
    pub fn saw(&mut self, store: usize, key: RowKey, field: FieldTag, value: &Value) {
        let content = content(value);
        if self.seen.entry((store, key, field)).or_default().insert(content.clone()) {
            self.newly_seen.push(((store, key, field), content));
        }
    }

    /// A person begins to do something.
    pub fn begin(&mut self) {
        self.newly_seen.clear();
    }

    /// It was not possible: what was shown to them for it counts for nothing.
    pub fn was_not_possible(&mut self) {
        for (place, content) in std::mem::take(&mut self.newly_seen) {
            if let Some(seen) = self.seen.get_mut(&place) {
                seen.remove(&content);
            }
        }
    }

    /// Whether a person at one of these stores was ever shown this before acting there.
    pub fn has_seen(&self, stores: &BTreeSet<usize>, place: Place, value: &Content) -> bool {
        stores.iter().any(|store| self.seen.get(&(*store, place.0, place.1)).is_some_and(|seen| seen.contains(value)))
    }

    /// A store accepted a value that nobody else writes, in place of what stood there.
    pub fn stands(&mut self, store: usize, key: RowKey, field: FieldTag, value: &Value) {
        self.stands_no_more(store, key, field, None);
        let edit = (store, key, field, content(value));
        self.stood.insert(edit.clone());
        self.standing.insert(edit);
    }

    /// Whether a value stands at a store, or stood there: else it is of others who wrote it.
    pub fn has_stood(&self, store: usize, key: RowKey, field: FieldTag, value: &Value) -> bool {
        self.stood.contains(&(store, key, field, content(value)))
    }

    /// A field was set back to what others wrote: it is theirs to keep, should the server lose it.
    pub fn is_of_others(&mut self, store: usize, key: RowKey, field: FieldTag, value: &Value) {
        let edit = (store, key, field, content(value));
        self.stood.remove(&edit);
        self.standing.remove(&edit);
    }

    /// A value was decided for a field: it stands from now on, and beside it of what stood there only the edit that lost.
    pub fn decided(&mut self, store: usize, key: RowKey, field: FieldTag, value: Option<&Value>, lost: Option<&Value>) {
        self.stands_no_more(store, key, field, lost.map(content).as_ref());
        if let Some(value) = value {
            let edit = (store, key, field, content(value));
            self.stood.insert(edit.clone());
            self.standing.insert(edit);
        }
    }

    /// Nothing stands for a field but this.
    pub fn stands_no_more(&mut self, store: usize, key: RowKey, field: FieldTag, but: Option<&Content>) {
        self.standing
            .retain(|(of, row, tag, value)| (*of, *row, *tag) != (store, key, field) || but.is_some_and(|but| but == value));
    }

    /// The owner took back what a store had accepted for a row.
    pub fn forget_row(&mut self, store: usize, key: RowKey) {
        self.standing.retain(|(of, row, ..)| (*of, *row) != (store, key));
        self.touched(store, key);
    }

    /// Something was done to a row at a store: a group that it belongs to is not what it was.
    pub fn touched(&mut self, store: usize, key: RowKey) {
        self.deletions.remove(&(store, key));
        self.undone.remove(&(store, key));
        self.groups.retain(|_, group| group.store != store || !group.writes.keys().any(|(row, _)| *row == key));
    }

    /// A store was copied.
    pub fn copied(&mut self, from: usize, to: usize) {
        let seen: Vec<_> = self
            .seen
            .iter()
            .filter(|((store, ..), _)| *store == from)
            .map(|((_, k, f), v)| ((to, *k, *f), v.clone()))
            .collect();
        self.seen.extend(seen);
        self.earlier_lives.extend([from, to]);
        self.groups.retain(|_, group| group.store != from);
    }
}
