//! What sessions hear of the log.

use crate::workspace::Job;
use tombolo_protocol::ids::{Mark, Seq};

/// News of the log. Later ones cover all before them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct News {
    /// The last durable commit.
    pub head: Mark,
    /// The newest one that is of interest also to who may not be sent rows now: users, devices, the schema.
    pub for_all: Seq,
}

impl News {
    /// Of a log that was opened.
    pub fn of(head: Mark) -> Self {
        Self { head, for_all: head.seq }
    }

    /// Behind a durable write up to `head`; `for_all` where one of its jobs was.
    pub fn then(self, head: Mark, for_all: bool) -> Self {
        Self { head, for_all: if for_all { head.seq } else { self.for_all } }
    }

    /// Whether a job may be of interest to who may not be sent rows now.
    pub fn is_for_all(job: &Job) -> bool {
        !matches!(job, Job::Push { .. } | Job::Void { .. } | Job::Import { .. })
    }
}
