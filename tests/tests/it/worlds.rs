//! The small worlds that the stories play in.

use anyhow::Result;
use tombolo_client::protocol::commit::Grant;
use tombolo_client::protocol::ids::{RowKey, UserId};
use tombolo_client::protocol::schema::{CLINIC, Role};
use tombolo_tests::pair::World;

/// A clinic with one site and people who see everything; chunks of one row.
pub struct Clinic {
    pub world: World,
    pub user: UserId,
    pub site: RowKey,
}

/// A clinic whose site was made by an administrator's device, which is device 0.
pub fn clinic() -> Result<Clinic> {
    let mut world = World::new(CLINIC)?;
    let user = world.user("ada", Role::Admin, Grant::All)?;
    let office = world.device(user)?;
    world.sync(office)?;
    let site = world.create(office, "sites", &[("name", "Kilifi")])?;
    world.sync(office)?;
    Ok(Clinic { world, user, site })
}

impl Clinic {
    /// One more device that has synced.
    pub fn device(&mut self) -> Result<usize> {
        let at = self.world.device(self.user)?;
        self.world.sync(at)?;
        Ok(at)
    }

    /// A patient made at a device.
    pub fn patient(&mut self, at: usize, name: &str) -> Result<RowKey> {
        let site = self.site.id.to_string();
        self.world.create(at, "patients", &[("name", name), ("phone", "1"), ("village", "Malindi"), ("site", &site)])
    }

    /// A patient that the server and every device know.
    pub fn known_patient(&mut self, devices: &[usize]) -> Result<RowKey> {
        let key = self.patient(devices[0], "Amina")?;
        for at in devices {
            self.world.sync(*at)?;
        }
        Ok(key)
    }
}
