//! The one policy: who may see and write what (section 9). Push, pull, history, admin and export all ask here.
//!
//! A role opens tables for reading and writing, a grant opens scopes. The scope table itself and every other table without a
//! scope field are one section, seen by every role that may read them: the names of all sites are known to all users, their
//! rows are not.

use crate::store::read::Read;
use crate::store::{StoreError, tables::Tables};
use std::collections::BTreeSet;
use tombolo_protocol::commit::Grant;
use tombolo_protocol::ids::{RowId, ScopeKey, Section, UserId};
use tombolo_protocol::limits::SECTIONS_MAX;
use tombolo_protocol::row::Row;
use tombolo_protocol::schema::{Role, Schema, Table};
use tombolo_protocol::value::Value;

/// The operator of the server, as author of commits: no user, all rights.
pub const OPERATOR: UserId = UserId(uuid::Uuid::nil());

/// What a user may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rights {
    /// What the user is.
    pub role: Role,
    /// The scopes of the user.
    pub grant: Grant,
}

/// How many scopes there may be, deleted ones included, so that the sections of a user with all rights fit into one list.
pub fn scopes_max(schema: &Schema) -> usize {
    let scoped = schema.tables.iter().filter(|table| table.scope.is_some()).count();
    let others = schema.tables.len() - scoped;
    SECTIONS_MAX.saturating_sub(others).checked_div(scoped).unwrap_or(usize::MAX)
}

impl Rights {
    /// The rights of a user at this state; none for a user that does not exist.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn of(tables: &impl Tables, user: UserId) -> Result<Option<Self>, StoreError> {
        if user == OPERATOR {
            return Ok(Some(Self { role: Role::Admin, grant: Grant::All }));
        }
        Ok(tables.user(user)?.map(|user| Self { role: user.role, grant: user.grant }))
    }

    /// Whether the user may see a row where it is now.
    pub fn may_see(&self, schema: &Schema, row: &Row) -> bool {
        schema.table(row.key.table).is_some_and(|table| self.role.may_read(table) && self.covers(table, row))
    }

    /// A row without scope value stands in no section; only who has all scopes sees it.
    fn covers(&self, table: &Table, row: &Row) -> bool {
        match table.scope.map(|field| row.value(field)) {
            None => true,
            Some(Value::Uuid(scope)) => self.grant.covers(RowId::from_bytes(*scope)),
            Some(_) => self.grant == Grant::All,
        }
    }

    /// The sections of the user. `known` are the scopes that have or had rows, or are rows of the scope table: who is granted
    /// all scopes has a section for each.
    pub fn sections(&self, schema: &Schema, known: &BTreeSet<RowId>) -> BTreeSet<Section> {
        let scopes: Vec<RowId> = match &self.grant {
            Grant::All => known.iter().copied().collect(),
            Grant::Scopes(scopes) => scopes.clone(),
        };
        let readable = schema.tables.iter().filter(|table| self.role.may_read(table));
        readable
            .flat_map(|table| match table.scope {
                None => vec![Section { table: table.tag, scope: None }],
                Some(field) => scopes
                    .iter()
                    .map(|value| Section { table: table.tag, scope: Some(ScopeKey { field, value: *value }) })
                    .collect(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NORTH, SOUTH, patient, schema};
    use tombolo_protocol::ids::TableTag;

    fn rights(role: Role, grant: Grant) -> Rights {
        Rights { role, grant }
    }

    #[test]
    fn a_user_of_one_scope_has_its_sections_and_the_scope_table() {
        let sections = rights(Role::Editor, Grant::Scopes(vec![NORTH])).sections(&schema(), &[NORTH, SOUTH].into());
        assert!(sections.contains(&Section { table: TableTag(1), scope: None }));
        assert!(sections.iter().all(|section| section.scope.is_none_or(|scope| scope.value == NORTH)));
        assert!(sections.iter().any(|section| section.scope.is_some()));
    }

    #[test]
    fn a_user_of_all_scopes_has_a_section_for_each_known_scope() {
        let sections = rights(Role::Viewer, Grant::All).sections(&schema(), &[NORTH, SOUTH].into());
        for scope in [NORTH, SOUTH] {
            assert!(sections.iter().any(|section| section.scope.is_some_and(|key| key.value == scope)));
        }
    }

    #[test]
    fn a_row_of_another_scope_is_not_seen() {
        let editor = rights(Role::Editor, Grant::Scopes(vec![NORTH]));
        assert!(editor.may_see(&schema(), &patient(1, NORTH)));
        assert!(!editor.may_see(&schema(), &patient(1, SOUTH)));
        assert!(rights(Role::Editor, Grant::All).may_see(&schema(), &patient(1, SOUTH)));
    }

    #[test]
    fn a_table_that_the_role_may_not_read_has_no_sections() {
        let schema = schema();
        let secrets = schema.table_named("secrets").unwrap();
        let viewer = rights(Role::Viewer, Grant::All);
        assert!(viewer.sections(&schema, &[NORTH].into()).iter().all(|section| section.table != secrets.tag));
        let admin = rights(Role::Admin, Grant::All);
        assert!(admin.sections(&schema, &[].into()).iter().any(|section| section.table == secrets.tag));
    }
}
