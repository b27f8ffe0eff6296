//! Samples of the enums inside messages and commits, which are append-only as well.

use super::{Sample, assert_all_variants, compare, id, key, sample};
use crate::change::{Op, Refusal, Verdict};
use crate::codec::{self, Decode, Encode};
use crate::commit::Offer;
use crate::ids::FieldTag;
use crate::schema::{FieldProblem, Role};
use crate::value::Value;
use std::fmt::Debug;

pub(super) fn compare_all() {
    compare_part(("values.txt", "values, as they stand in commits and histories"), &values());
    compare_part(("verdicts.txt", "verdicts"), &verdicts());
    compare_part(("refusals.txt", "refusals"), &refusals());
    let problem = |name, problem| sample(name, "", problem);
    compare_part(
        ("problems.txt", "why a field does not allow a value"),
        &[
            problem("wrong_kind", FieldProblem::WrongKind),
            problem("required", FieldProblem::Required),
            problem("not_a_choice", FieldProblem::NotAChoice),
            problem("too_small", FieldProblem::TooSmall),
            problem("too_large", FieldProblem::TooLarge),
            problem("too_short", FieldProblem::TooShort),
            problem("too_long", FieldProblem::TooLong),
        ],
    );
    let op = |name, op| sample(name, "", op);
    let ops = [
        op("create", Op::Create),
        op("update", Op::Update),
        op("delete", Op::Delete),
        op("restore", Op::Restore),
        op("decide", Op::Decide),
    ];
    compare_part(("ops.txt", "what a change does"), &ops);
    let offers = [sample("yes", "", Offer::Yes), sample("ask", "", Offer::Ask), sample("no", "", Offer::No)];
    compare_part(("offers.txt", "whether lost edits are offered again"), &offers);
    let roles = [sample("admin", "", Role::Admin), sample("editor", "", Role::Editor), sample("viewer", "", Role::Viewer)];
    compare_part(("roles.txt", "roles of users"), &roles);
}

fn compare_part<T: Encode + Decode<()> + PartialEq + Debug>(file: (&str, &str), samples: &[Sample<T>]) {
    assert_all_variants(samples);
    compare(file, samples, codec::encode, codec::decode);
}

fn values() -> Vec<Sample<Value>> {
    vec![
        sample("null", "", Value::Null),
        sample("bool", "yes", Value::Bool(true)),
        sample("int", "-5", Value::Int(-5)),
        sample("float", "1.5", Value::Float(1.5)),
        sample("decimal", "12.50 at scale 2", Value::Decimal(1_250)),
        sample("text", "Grüße", Value::text("Grüße")),
        sample("date", "1969-12-31", Value::Date(-1)),
        sample("timestamp", "2025-10-09 08:53:20 UTC in milliseconds", Value::Timestamp(1_760_000_000_000)),
        sample("uuid", "", Value::Uuid(*id(1).bytes())),
        sample("bytes", "", Value::Bytes(vec![0, 255])),
    ]
}

fn verdicts() -> Vec<Sample<Verdict>> {
    vec![
        sample("accepted", "", Verdict::Accepted { merged: false }),
        sample("accepted_merged", "others had changed the row", Verdict::Accepted { merged: true }),
        sample("agreed", "", Verdict::Agreed),
        sample("conflict", "", Verdict::Conflict),
        sample("clash", "with a row that the user may see", Verdict::Clash { field: FieldTag(2), with: Some(id(7)) }),
        sample("clash_unseen", "with a row that the user may not see", Verdict::Clash { field: FieldTag(2), with: None }),
        sample("refused", "", Verdict::Refused(Refusal::NoRight)),
        sample("held", "", Verdict::Held { by: key(2) }),
    ]
}

fn refusals() -> Vec<Sample<Refusal>> {
    let field = FieldTag(300);
    vec![
        sample("unknown_row", "", Refusal::UnknownRow),
        sample("unknown_table", "", Refusal::UnknownTable),
        sample("unknown_field", "", Refusal::UnknownField { field }),
        sample("field", "", Refusal::Field { field, problem: FieldProblem::TooLong }),
        sample("missing_parent", "", Refusal::MissingParent { field, parent: id(3) }),
        sample("referenced", "by a row that the user may see", Refusal::Referenced { by: Some(key(4)) }),
        sample("referenced_unseen", "", Refusal::Referenced { by: None }),
        sample("no_right", "", Refusal::NoRight),
        sample("row_too_large", "", Refusal::RowTooLarge),
        sample("defect", "", Refusal::Defect),
        sample("undeliverable", "", Refusal::Undeliverable),
        sample("too_many_scopes", "", Refusal::TooManyScopes { most: 4090 }),
    ]
}
