//! Whose store this is: login, logout, status, tables.

use super::args::{LoginArgs, Output};
use super::failure::{Exit, Failure};
use super::io::Io;
use super::place::{self, Known, Place};
use super::text;
use crate::driver::Connection;
use crate::handle::Status;
use crate::login::{self, Login};
use crate::store::Account;
use crate::url::ServerUrl;
use serde_json::json;
use std::io::Read;
use std::path::Path;

/// Bytes of a password; the rest of the server's limit is for the name.
const PASSWORD_BYTES_MAX: u64 = 1024;

pub(super) fn login(io: &mut Io<'_>, place: &Place, args: &LoginArgs, output: Output) -> Result<Exit, Failure> {
    let url: ServerUrl = args.url.parse()?;
    let password = password(io)?;
    if !url.is_secure() && !url.is_local() {
        io.note("warning: this address is not encrypted (http://); others on the network can read the password and the data");
    }
    let file = place.for_login(&url, &args.user)?;
    let mut login = Login { device_name: args.device_name.as_deref(), ..Login::new(&args.user, &password) };
    let account = if file.is_file() {
        place::open(&file)?.login(&url, login)?
    } else {
        let computer = login::computer_name();
        login.device_name = login.device_name.or(computer.as_deref());
        first_login(&file, &url, login)?
    };
    if let Err(error) = place.logged_in(&file) {
        io.note(&format!(
            "this login could not be noted as the last one ({error}); name its data with --store where it matters"
        ));
    }
    let folder = file.parent().unwrap_or(Path::new("")).display().to_string();
    if output.json {
        let (user, workspace, device) = (&account.user_name, account.workspace, account.device);
        io.json(&json!({ "url": account.url, "user": user, "workspace": workspace, "device": device, "store": folder }))?;
    } else {
        writeln!(io.out, "logged in as {} at {}; the data is in {folder}", account.user_name, account.url)?;
        io.note("next: tombolo sync");
    }
    Ok(Exit::Done)
}

/// A store is made when the server has said yes: a failed login leaves nothing behind.
fn first_login(file: &Path, url: &ServerUrl, login: Login<'_>) -> Result<Account, Failure> {
    let answer = login::ask(url, login, None)?;
    let adopted = place::open(file)?.adopt(answer);
    if adopted.is_err() {
        // It holds nothing yet; if it cannot be removed, the next login finds an empty store.
        let _ = std::fs::remove_file(file);
    }
    Ok(adopted?)
}

fn password(io: &mut Io<'_>) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = io.stdin.take(PASSWORD_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::failed(format!("the password could not be read from standard input: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::usage("the password is not UTF-8"))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::usage("there is no password on standard input; nothing was changed"));
    }
    if password.len() as u64 > PASSWORD_BYTES_MAX {
        return Err(Failure::usage("the password on standard input is too long; nothing was changed"));
    }
    Ok(password.to_owned())
}

pub(super) fn logout(io: &mut Io<'_>, place: &Place, output: Output) -> Result<Exit, Failure> {
    let client = place.open()?;
    let pending = client.status()?.pending;
    let had_token = client.account()?.is_some_and(|account| account.token.is_some());
    let heard = client.logout()?;
    if output.json {
        io.json(&json!({ "logged_out": had_token, "server_told": heard, "pending": pending }))?;
    } else {
        writeln!(io.out, "{}", if had_token { "logged out" } else { "nobody was logged in" })?;
    }
    if had_token && !heard {
        io.note("the server could not be told; the token was removed from this device and expires by itself");
    }
    if pending > 0 {
        let what = text::counted(pending, "row has changes", "rows have changes");
        io.note(&format!("{what} that the server does not have yet. They are kept on this device: log in again to send them"));
    }
    Ok(Exit::Done)
}

pub(super) fn tables(io: &mut Io<'_>, place: &Place, output: Output) -> Result<Exit, Failure> {
    let tables = place.open()?.tables()?;
    if output.json {
        for table in &tables {
            io.json(&json!({ "table": table.name, "label": table.label, "rows": table.rows }))?;
        }
    } else {
        let rows: Vec<Vec<String>> =
            tables.into_iter().map(|table| vec![table.name, table.rows.to_string(), table.label]).collect();
        let header = ["Table", "Rows", "Label"].map(str::to_owned);
        io.out.write_all(text::columns(&header, &rows).as_bytes())?;
    }
    Ok(Exit::Done)
}

pub(super) fn status(io: &mut Io<'_>, place: &Place, output: Output) -> Result<Exit, Failure> {
    let file = place.existing()?;
    let others = place.others(&file)?;
    let status = place::open(&file)?.status()?;
    if output.json {
        io.json(&status_json(&status, &file, &others))?;
    } else {
        io.out.write_all(text::pairs(&status_lines(&status, &file, &others)).as_bytes())?;
    }
    Ok(Exit::Done)
}

fn status_json(status: &Status, file: &Path, others: &[Known]) -> serde_json::Value {
    let account = status.account.as_ref();
    json!({
        "store": file.parent().map(|folder| folder.display().to_string()),
        "others": others.iter().map(|other| json!({
            "user": other.user, "server": other.server, "store": other.folder.display().to_string(),
        })).collect::<Vec<_>>(),
        "url": account.map(|account| &account.url),
        "user": account.map(|account| &account.user_name),
        "device": account.map(|account| account.device),
        "workspace": account.map(|account| account.workspace),
        "logged_in": account.is_some_and(|account| account.token.is_some()),
        "schema": status.schema,
        "pending": status.pending,
        "conflicts": status.conflicts,
        "refused": status.refused,
        "head": status.head,
        "complete": status.filling == 0 && status.caught_up_at_ms > 0,
        "caught_up_at": (status.caught_up_at_ms > 0).then(|| text::moment(status.caught_up_at_ms)),
        "other_server": status.other_server,
        "not_recoverable": status.acknowledged_dropped,
        "recovery_copies": status.recovery_copies.iter().map(|(number, copy)| json!({
            "number": number, "at": text::moment(copy.at_ms), "rows": copy.rows, "offered": copy.offered,
        })).collect::<Vec<_>>(),
    })
}

fn status_lines(status: &Status, file: &Path, others: &[Known]) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push((name.to_owned(), value));
    match &status.account {
        Some(account) => {
            line("User", account.user_name.clone());
            let login = if account.token.is_some() { "" } else { " (logged out)" };
            line("Server", format!("{}{login}", account.url));
        }
        None => line("User", "nobody has logged in yet".to_owned()),
    }
    let chosen = if others.is_empty() { "" } else { " (of the last login on this device)" };
    line("Store", format!("{}{chosen}", file.parent().unwrap_or(Path::new("")).display()));
    others.iter().for_each(|other| line("Also here", other.words()));
    line("Schema", status.schema.clone().unwrap_or_else(|| "not known yet".to_owned()));
    let met = match status.caught_up_at_ms {
        0 => "never".to_owned(),
        at => text::moment(at),
    };
    let filling = if status.filling > 0 { " (not everything has been fetched yet)" } else { "" };
    line("Up to date", format!("{met}{filling}"));
    line("Pending", text::counted(status.pending, "row", "rows"));
    if status.conflicts > 0 {
        line("Conflicts", format!("{}: see `tombolo conflicts`", status.conflicts));
    }
    if status.refused > 0 {
        line("Refused", format!("{}: see `tombolo pending`", status.refused));
    }
    if status.other_server || status.connection == Connection::OtherServer {
        line(
            "Attention",
            "another server answered at this address; nothing is sent until you log in there or the right one is back".into(),
        );
    }
    if status.acknowledged_dropped > 0 {
        let what =
            text::counted(usize::try_from(status.acknowledged_dropped).unwrap_or(usize::MAX), "sent push", "sent pushes");
        line("Not recoverable", format!("{what} could not be offered again if the server lost them before its next backup"));
    }
    for (number, copy) in &status.recovery_copies {
        let what = format!("{}, {} rows: tombolo export TABLE --recovery {number}", text::moment(copy.at_ms), copy.rows);
        line("Set aside", what);
    }
    lines
}
