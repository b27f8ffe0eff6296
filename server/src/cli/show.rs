//! Answers, for people and for scripts.

use super::args::Output;
use super::terminal::{say, say_json};
use crate::control::{Answer, DeviceLine, GrantShown, UserLine};
use serde_json::{Value, json};
use tombolo_protocol::schema::Role;

/// Prints an answer.
pub(super) fn answer(answer: &Answer, output: Output) {
    if output.json {
        objects(answer).iter().for_each(say_json);
    } else {
        lines(answer).iter().for_each(|line| say(line));
    }
}

fn lines(answer: &Answer) -> Vec<String> {
    match answer {
        Answer::UserAdded(user) => vec![format!("{} was added as {}, and has {}.", user.name, role(user.role), granted(user))],
        Answer::Users(users) if users.is_empty() => vec!["There are no users yet; add one with `user add`.".to_owned()],
        Answer::Users(users) => {
            users.iter().map(|user| format!("{}  {}  {}", user.name, role(user.role), granted(user))).collect()
        }
        Answer::PasswordChanged { name } => {
            vec![format!("The password of {name} was changed. Devices that are logged in stay so; `device revoke` ends that.")]
        }
        Answer::Devices(devices) if devices.is_empty() => vec!["No device has logged in yet.".to_owned()],
        Answer::Devices(devices) => devices.iter().map(device).collect(),
        Answer::Revoked { device, user } => {
            vec![format!("The device {device} of {user} was revoked. What it had not pushed stays on it.")]
        }
        Answer::Imported { table, created, updated, unchanged, .. } => {
            vec![format!("{table}: {created} rows created, {updated} updated, {unchanged} unchanged.")]
        }
        Answer::Exported { table, rows } => vec![format!("{rows} rows of {table} were written.")],
        Answer::Verified { report, .. } => vec![report.trim_end().to_owned()],
        Answer::Compacted { horizon, dropped, kept, bytes_before, bytes_after, .. } => vec![
            format!(
                "The log was compacted up to commit {horizon}: the contents of {dropped} commits were put away, {kept} stay as \
                 answers that devices may still ask for. The history of rows begins behind that commit now."
            ),
            format!("The data file had {bytes_before} bytes and has {bytes_after} now; what is free in it is used again."),
        ],
        Answer::NothingToCompact { keep_days: 0 } => {
            vec!["No commit has a content that could be put away; nothing was changed.".to_owned()]
        }
        Answer::NothingToCompact { keep_days } => vec![format!(
            "No commit that is older than {keep_days} days has a content that could be put away; nothing was changed."
        )],
        Answer::Schema { name, changed: Some(changed), .. } => {
            vec![format!("The workspace {name} has the new schema now:\n{changed}")]
        }
        Answer::Schema { name, changed: None, .. } => {
            vec![format!("The workspace {name} is there already, with this schema; nothing was changed.")]
        }
    }
}

fn device(DeviceLine { id, name, user, state, pushes }: &DeviceLine) -> String {
    let name = if name.is_empty() { "(no name)" } else { name };
    format!("{id}  {name}  {user}  {state}  {pushes} pushes")
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Editor => "editor",
        Role::Viewer => "viewer",
    }
}

fn granted(user: &UserLine) -> String {
    match &user.grant {
        GrantShown::All => "all scopes, also those made later".to_owned(),
        GrantShown::Scopes(scopes) => {
            let named = |(id, title): &(String, String)| if title.is_empty() { id.clone() } else { title.clone() };
            format!("the scopes {}", scopes.iter().map(named).collect::<Vec<_>>().join(", "))
        }
    }
}

fn objects(answer: &Answer) -> Vec<Value> {
    match answer {
        Answer::UserAdded(user) => vec![user_object(user)],
        Answer::Users(users) => users.iter().map(user_object).collect(),
        Answer::PasswordChanged { name } => vec![json!({ "name": name })],
        Answer::Devices(devices) => devices
            .iter()
            .map(|line| json!({ "id": line.id, "name": line.name, "user": line.user, "state": line.state, "pushes": line.pushes }))
            .collect(),
        Answer::Revoked { device, user } => vec![json!({ "id": device, "user": user, "state": "revoked" })],
        Answer::Imported { table, created, updated, unchanged, head } => {
            vec![json!({ "table": table, "created": created, "updated": updated, "unchanged": unchanged, "head": head })]
        }
        Answer::Exported { table, rows } => vec![json!({ "table": table, "rows": rows })],
        Answer::Schema { name, changed, hidden } => vec![json!({ "name": name, "changed": changed, "hidden": hidden })],
        Answer::Compacted { commit, horizon, dropped, kept, bytes_before, bytes_after } => vec![json!({
            "commit": commit,
            "horizon": horizon,
            "dropped": dropped,
            "kept": kept,
            "bytes_before": bytes_before,
            "bytes_after": bytes_after,
        })],
        Answer::NothingToCompact { .. } => vec![json!({ "dropped": 0 })],
        Answer::Verified { sound, report } => vec![json!({ "sound": sound, "report": report.trim_end() })],
    }
}

fn user_object(user: &UserLine) -> Value {
    let scopes = match &user.grant {
        GrantShown::All => json!("all"),
        GrantShown::Scopes(scopes) => scopes.iter().map(|(id, title)| json!({ "id": id, "title": title })).collect(),
    };
    json!({ "id": user.id, "name": user.name, "role": role(user.role), "scopes": scopes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_protocol::ids::UserId;

    fn anna(grant: GrantShown) -> Answer {
        Answer::UserAdded(UserLine { id: UserId::default(), name: "anna".into(), role: Role::Editor, grant })
    }

    #[test]
    fn a_user_without_scopes_is_said_to_have_all() {
        assert_eq!(lines(&anna(GrantShown::All)), ["anna was added as editor, and has all scopes, also those made later."]);
        assert_eq!(objects(&anna(GrantShown::All))[0]["scopes"], "all");
        let scopes = GrantShown::Scopes(vec![("0199".into(), "Kisumu".into()), ("0200".into(), String::new())]);
        assert_eq!(lines(&anna(scopes)), ["anna was added as editor, and has the scopes Kisumu, 0200."]);
    }
}
