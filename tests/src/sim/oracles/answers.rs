//! A push that is sent again gets the answer that was recorded.

use super::{Broken, Oracles};
use anyhow::{Result, ensure};
use tombolo_client::protocol::change::{Refusal, Verdict, VerdictRuns};
use tombolo_client::protocol::ids::{DeviceId, Mark};
use tombolo_client::protocol::message::{Down, Outcome};

/// An answer as it was first given.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Answer {
    commit: Mark,
    verdicts: Option<VerdictRuns>,
}

/// The server sends something; answers in it are compared.
pub(super) fn sent(oracles: &mut Oracles, device: DeviceId, message: &Down) -> Result<()> {
    let outcomes: &[Outcome] = match message {
        Down::Result { outcome, .. } => std::slice::from_ref(outcome),
        Down::Welcome(welcome) => &welcome.outcomes,
        Down::Copy(copied) => &copied.outcomes,
        Down::Diverged(diverged) => &diverged.outcomes,
        _ => return Ok(()),
    };
    for outcome in outcomes {
        let answer = Answer { commit: outcome.commit, verdicts: outcome.verdicts.as_ref().map(as_recorded) };
        let first = oracles.answers.entry((device, outcome.number)).or_insert_with(|| answer.clone());
        ensure!(
            *first == answer,
            Broken::new("answers", format!("push {} was answered by {first:?}, and then by {answer:?}", outcome.number))
        );
    }
    Ok(())
}

/// Which other row is named depends on what the user may see when it is answered; all else is as it was recorded.
fn as_recorded(verdicts: &VerdictRuns) -> VerdictRuns {
    VerdictRuns::of(verdicts.iter().map(|verdict| match verdict {
        Verdict::Clash { field, .. } => Verdict::Clash { field: *field, with: None },
        Verdict::Refused(Refusal::Referenced { .. }) => Verdict::Refused(Refusal::Referenced { by: None }),
        other => other.clone(),
    }))
}
