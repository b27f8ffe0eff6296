//! A changed schema, proposed to a server that runs.

use super::request::{Answer, Refused};
use crate::access::OPERATOR;
use crate::net::FolderError;
use crate::net::folder::hidden_by;
use crate::net::hub::Hub;
use crate::workspace::{Job, Reply, SchemaReply};

pub(super) fn propose(hub: &Hub, text: String) -> Result<Answer, Refused> {
    let before = hub.snapshot()?.schema().clone();
    let changed = match hub.ask_blocking(Job::Schema { by: OPERATOR, text })? {
        Reply::Schema(Ok(SchemaReply::Changed { evolution, .. })) => Some(evolution.to_string()),
        Reply::Schema(Err(refusal)) => return Err(Refused::new(FolderError::Refused(refusal).to_string())),
        _ => None,
    };
    let after = hub.snapshot()?.schema().clone();
    Ok(Answer::Schema { name: after.name.clone(), changed, hidden: hidden_by(&before, &after) })
}
