//! A clinic with generated patients and two people who work there, for demos and measurements.

use crate::workload::{gen_rows, write_csv};
use anyhow::Result;
use tombolo_client::protocol::schema::Role;
use tombolo_server::net::Operator;

/// Who works there; both may edit everything.
pub const PEOPLE: [&str; 2] = ["amina", "brian"];
/// With this password.
pub const PASSWORD: &str = "river stone 42";

/// Puts one site with so many patients, and its people, into an empty workspace with the schema of the clinic.
///
/// # Errors
/// When the server refuses any of it.
pub async fn seed(operator: &Operator, rows: usize) -> Result<()> {
    let mut csv = Vec::new();
    write_csv(&gen_rows(rows), &mut csv)?;
    operator.import_csv("sites", &[], b"name\nKilifi\n".to_vec()).await?;
    operator.import_csv("patients", &[("site", "Kilifi")], csv).await?;
    for name in PEOPLE {
        operator.add_user(name, PASSWORD, Role::Editor, &["Kilifi"]).await?;
    }
    Ok(())
}
