//! Schemas to start from; also those of demo and tests.

/// A clinic with sites as scopes: patients, visits, medications with dose and unit as a group, a strict table of stock.
pub const CLINIC: &str = include_str!("../../templates/clinic/schema.toml");

/// A rental agency without scopes: buildings, tenants, leases, payments with references.
pub const RENTAL: &str = include_str!("../../templates/rental/schema.toml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Kind, Role, Schema};
    use crate::value::Value;

    #[test]
    fn the_patients_of_the_clinic_have_the_fields_of_the_workload() {
        let clinic = Schema::parse(CLINIC).unwrap_or_else(|error| panic!("{error}"));
        let patients = clinic.table_named("patients").unwrap();
        let names: Vec<&str> = patients.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["name", "phone", "village", "birth_date", "sex", "notes", "weight_kg", "updated_by", "site"]);
        assert_eq!(patients.field_named("weight_kg").unwrap().kind, Kind::Float);
        assert_eq!(patients.scope_field().unwrap().name, "site");
        let row = ["Boba Kina", "+254712345678", "Tolu", "1931-02-28", "F", "a b", "119.9", "chw-07"];
        for (field, text) in patients.fields.iter().zip(row) {
            let value = field.parse_text(text).unwrap();
            assert_eq!((field.check(&value), field.show(&value)), (Ok(()), text.to_owned()));
        }
    }

    #[test]
    fn the_clinic_shows_scopes_a_group_and_a_strict_table() {
        let clinic = Schema::parse(CLINIC).unwrap();
        let sites = clinic.table_named("sites").unwrap();
        assert_eq!(clinic.scope_table, Some(sites.tag));
        assert!(clinic.tables.iter().all(|table| table.scope.is_some() || table.tag == sites.tag));
        assert!(clinic.table_named("stock").unwrap().strict);
        let medications = clinic.table_named("medications").unwrap();
        let grouped = medications.groups[0].fields.iter().map(|tag| medications.field(*tag).unwrap().name.as_str());
        assert_eq!(grouped.collect::<Vec<_>>(), ["dose", "unit"]);
    }

    #[test]
    fn the_rental_shows_references_and_unique_fields_without_scopes() {
        let rental = Schema::parse(RENTAL).unwrap_or_else(|error| panic!("{error}"));
        assert!(rental.scope_table.is_none() && rental.tables.iter().all(|table| table.scope.is_none()));
        let leases = rental.table_named("leases").unwrap();
        let tenants = rental.table_named("tenants").unwrap();
        let referrers: Vec<&str> = rental.referrers(tenants.tag).map(|(table, _)| table.name.as_str()).collect();
        assert_eq!(referrers, ["leases"]);
        let rent = leases.field_named("rent").unwrap();
        assert_eq!(rent.parse_text("850.5"), Ok(Value::Decimal(85_050)));
        assert!(rental.table_named("payments").unwrap().field_named("receipt").unwrap().unique);
        assert!(Role::Viewer.may_read(leases));
    }

    #[test]
    fn labels_are_written_for_people() {
        for text in [CLINIC, RENTAL] {
            for table in Schema::parse(text).unwrap().tables {
                for field in &table.fields {
                    assert!(field.label.starts_with(char::is_uppercase) && !field.label.contains('_'), "{}", field.label);
                }
            }
        }
    }
}
