//! Samples of commits: the log keeps and hashes these bytes for ever.

use super::{Sample, hash, id, key, sample};
use crate::change::{Effect, LostValue, Op, Verdict, VerdictRuns};
use crate::commit::{AccessChange, Commit, CommitBody, Grant, Offer, PushRecord, RecordedRow};
use crate::ids::{DeviceId, FieldTag, PushNo, Seq, UserId, WorkspaceId};
use crate::schema::Role;
use crate::value::Value;

pub(super) fn samples() -> Vec<Sample<Commit>> {
    let commit = |name, shows, body| sample(name, shows, commit(body));
    let access = |name, shows, change| commit(name, shows, CommitBody::Access(change));
    vec![
        commit("workspace", "the first commit", CommitBody::Workspace { id: WorkspaceId::from_bytes([0xAA; 16]) }),
        commit("schema", "", CommitBody::Schema { text: "name = \"clinic\"\n".into() }),
        commit("push", "a create, an update, a refused change, a lost value", CommitBody::Push(push())),
        commit("push_void", "recorded as empty", CommitBody::Push(void())),
        access("user", "an editor with one scope", user(Grant::Scopes(vec![id(1)]))),
        access("user_of_all", "an editor with all scopes", user(Grant::All)),
        access("token", "", token()),
        access("device_revoked", "", AccessChange::DeviceRevoked { device: device() }),
        access("token_revoked", "", AccessChange::TokenRevoked { device: device() }),
        access("device_named", "", AccessChange::DeviceNamed { device: device(), name: "Reception".into() }),
        commit("restore", "clients are asked", CommitBody::Restore { offer: Offer::Ask }),
        commit("purge", "two rows", CommitBody::Purge { rows: vec![key(1), key(2)] }),
        commit("checkpoint", "compacted up to 250", CommitBody::Checkpoint { horizon: Seq(250), base: [0xBB; 32] }),
    ]
}

fn commit(body: CommitBody) -> Commit {
    Commit { seq: Seq(261), at_ms: 1_760_000_500_000, user: UserId::from_bytes([0xCC; 16]), body }
}

fn device() -> DeviceId {
    DeviceId::from_bytes([0xDD; 16])
}

fn user(grant: Grant) -> AccessChange {
    let id = UserId::from_bytes([0xCC; 16]);
    AccessChange::User { id, name: "amina".into(), role: Role::Editor, grant, password: "$argon2id$v=19$".into() }
}

fn token() -> AccessChange {
    AccessChange::Token {
        device: device(),
        user: UserId::from_bytes([0xCC; 16]),
        token: [9; 32],
        expires_at_ms: 1_790_000_000_000,
    }
}

fn push() -> PushRecord {
    let recorded = |number, view_base| RecordedRow { key: key(number), view_base: Seq(view_base) };
    let effect = |number, op, value| Effect { key: key(number), op, fields: vec![(FieldTag(8), value)] };
    PushRecord {
        device: device(),
        number: PushNo(6),
        hash: hash(6),
        void: false,
        schema: Seq(2),
        rows: vec![recorded(1, 0), recorded(2, 260), recorded(3, 260)],
        verdicts: VerdictRuns(vec![(Verdict::Accepted { merged: false }, 2), (Verdict::Conflict, 1)]),
        effects: vec![effect(1, Op::Create, Value::Float(61.5)), effect(2, Op::Update, Value::Null)],
        lost: vec![(key(2), LostValue { field: FieldTag(8), value: Value::Float(60.0) })],
        edited_at_ms: 1_760_000_400_000,
    }
}

fn void() -> PushRecord {
    PushRecord {
        void: true,
        rows: Vec::new(),
        verdicts: VerdictRuns::default(),
        effects: Vec::new(),
        lost: Vec::new(),
        edited_at_ms: 0,
        ..push()
    }
}
