//! News for programs: everything that the client tells, or the rows that changed.

use crate::driver::{Connection, Notice};
use crate::error::ClientError;
use crate::event::Event;
use crate::handle::Client;
use crate::view::RowView;
use std::collections::VecDeque;
use tokio::sync::broadcast::{Receiver, error::RecvError, error::TryRecvError};
use tombolo_protocol::ids::{RowKey, TableTag};

/// Everything that a client tells. Bounded: who falls behind is told to read again what is shown ([`Notice::Reread`]).
pub struct Subscription {
    notices: Receiver<Notice>,
}

impl Subscription {
    pub(crate) fn new(notices: Receiver<Notice>) -> Self {
        Self { notices }
    }

    /// Waits for the next notice; `None` when the client has stopped. Not for async tasks.
    pub fn wait(&mut self) -> Option<Notice> {
        match self.notices.blocking_recv() {
            Ok(notice) => Some(notice),
            Err(RecvError::Lagged(_)) => Some(Notice::Reread),
            Err(RecvError::Closed) => None,
        }
    }

    /// [`Subscription::wait`] for async tasks.
    pub async fn recv(&mut self) -> Option<Notice> {
        match self.notices.recv().await {
            Ok(notice) => Some(notice),
            Err(RecvError::Lagged(_)) => Some(Notice::Reread),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next notice, if there is one already.
    pub fn poll(&mut self) -> Option<Notice> {
        match self.notices.try_recv() {
            Ok(notice) => Some(notice),
            Err(TryRecvError::Lagged(_)) => Some(Notice::Reread),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

/// Something changed in what is shown.
#[derive(Clone, PartialEq, Debug)]
pub enum Changed {
    /// A row, as it is shown now; without a view it is not there any more.
    Row(RowKey, Option<Box<RowView>>),
    /// Anything: read again.
    Everything,
    /// The link stands differently now.
    Connection(Connection),
}

/// The rows that change.
pub struct Watch {
    client: Client,
    subscription: Subscription,
    table: Option<TableTag>,
    keys: VecDeque<RowKey>,
}

impl Watch {
    pub(crate) fn new(client: Client, subscription: Subscription, table: Option<TableTag>) -> Self {
        Self { client, subscription, table, keys: VecDeque::new() }
    }

    /// Waits for the next change; `None` when the client has stopped. A row that changes often meanwhile may be seen once.
    ///
    /// # Errors
    /// [`ClientError`] when the row cannot be read.
    pub fn wait(&mut self) -> Result<Option<Changed>, ClientError> {
        loop {
            if let Some(key) = self.keys.pop_front() {
                return match self.client.get(key) {
                    Ok(row) => Ok(Some(Changed::Row(key, row.map(Box::new)))),
                    Err(ClientError::Stopped) => Ok(None),
                    Err(error) => Err(error),
                };
            }
            match self.subscription.wait() {
                None => return Ok(None),
                Some(Notice::Reread | Notice::Engine(Event::SchemaChanged)) => return Ok(Some(Changed::Everything)),
                Some(Notice::Engine(Event::RowsChanged(keys))) => {
                    self.keys.extend(keys.into_iter().filter(|key| self.table.is_none_or(|table| key.table == table)));
                }
                Some(Notice::Connection(connection)) => return Ok(Some(Changed::Connection(connection))),
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::LocalWrite;
    use crate::table::Fields;
    use crate::testing::clinic;
    use tombolo_protocol::outbox::Write;
    use tombolo_protocol::schema::Plain;

    #[test]
    fn rows_of_the_watched_table_are_told_as_they_are_shown_now() {
        let client = clinic();
        let (sites, patients) = (client.table::<Fields>("sites").unwrap(), client.table::<Fields>("patients").unwrap());
        let mut watch = client.watch(Some(patients.schema().tag)).unwrap();
        let named = |name: &str| -> Fields { [("name".into(), Plain::Text(name.into()))].into() };
        sites.create(&named("Kisumu")).unwrap();
        let id = patients.create(&named("Rose")).unwrap();
        let Some(Changed::Row(key, Some(view))) = watch.wait().unwrap() else { panic!("the new patient") };
        assert_eq!((key, view.key), (patients.key(id), patients.key(id)));
        patients.delete(&patients.get(id).unwrap().unwrap()).unwrap();
        assert_eq!(watch.wait().unwrap(), Some(Changed::Row(key, None)));
        client.stop();
        assert_eq!(watch.wait().unwrap(), None);
    }

    #[test]
    fn who_falls_behind_is_told_to_read_again() {
        let client = clinic();
        let mut watch = client.watch(None).unwrap();
        let sites = client.table::<Fields>("sites").unwrap();
        let id = sites.create(&Fields::new()).unwrap();
        let write = |write| LocalWrite { key: sites.key(id), write, seen: None };
        // More notices than a subscriber may be behind.
        for _ in 0..600 {
            client.transaction(vec![write(Write::Delete)], false).unwrap();
            client.transaction(vec![write(Write::Create([].into()))], false).unwrap();
        }
        assert_eq!(watch.wait().unwrap(), Some(Changed::Everything));
        assert!(matches!(watch.wait().unwrap(), Some(Changed::Row(..))));
    }
}
