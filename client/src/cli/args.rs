//! The words of the command line. People and scripts rely on them.

use crate::driver::Mode;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use tombolo_protocol::ids::RowId;
use tombolo_protocol::outbox::Seen;

/// The whole command line.
#[derive(Parser, Debug)]
#[command(
    name = "tombolo",
    version,
    about = "Read and change a workspace's rows on this device, with or without a network, and sync them with its server.",
    after_help = "Everything but login, sync, history and watch works without a network.\n\n\
                  Exit codes: 0 done, 1 failed, 2 usage (also: an unknown table or field, a value that a field cannot hold), \
                  3 done but something needs review (conflicts, refused changes), 4 server not reachable (edits are kept), \
                  5 login needed."
)]
pub(crate) struct Cli {
    /// The folder of the store; without it the environment's TOMBOLO_STORE, or this person's only store
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is asked.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Log in at a server; the first time this makes the store
    #[command(
        after_help = "Example:\n  echo 'river stone 42' | tombolo login https://sync.example.org --user anna --password-stdin\n\n\
                            Logging in again keeps everything, also what is pending."
    )]
    Login(LoginArgs),
    /// Forget the login; rows and pending edits stay on this device
    #[command(after_help = "Example:\n  tombolo logout")]
    Logout,
    /// List the tables
    #[command(after_help = "Example:\n  tombolo tables")]
    Tables(Output),
    /// Show whose store this is, what is pending, and when it last met the server
    #[command(after_help = "Example:\n  tombolo status")]
    Status(Output),
    /// List the rows of a table
    #[command(after_help = "Example:\n  tombolo list patients --where village=Kolowa --sort name --limit 20\n\n\
                            A --where with nothing behind the = finds rows without a value. References are found by id or by \
                            the text that names the row. --sort=-FIELD puts the greatest first.")]
    List(ListArgs),
    /// Show one row
    #[command(after_help = "Example:\n  tombolo get patients 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e")]
    Get {
        #[command(flatten)]
        row: RowArgs,
        #[command(flatten)]
        output: Output,
    },
    /// Show who changed a row, when and how (asks the server)
    #[command(after_help = "Example:\n  tombolo history patients 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e")]
    History {
        #[command(flatten)]
        row: RowArgs,
        #[command(flatten)]
        output: Output,
    },
    /// Make a row and print its id
    #[command(after_help = "Example:\n  tombolo create patients name='Rose Achieng' birth_date=1990-05-31 site=Kisumu\n\n\
                            A reference is an id or the text that names exactly one row. Fields that are not named get their \
                            default.")]
    Create {
        /// The table, by name
        table: String,
        /// Values; nothing behind the = is no value
        #[arg(value_name = "FIELD=VALUE", value_parser = assignment)]
        fields: Vec<(String, String)>,
        /// The id of the new row; a new one without it
        #[arg(long, value_name = "UUID", value_parser = row_id)]
        id: Option<RowId>,
    },
    /// Change fields of a row
    #[command(
        after_help = "Example:\n  tombolo update patients 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e weight_kg=61.5 notes=\n\n\
                            --seen gives back what `get --json` or `list --json` printed as \"seen\": if others changed the \
                            same field since then, the next sync asks instead of overwriting it. Without it the edit is made on \
                            what this device holds now."
    )]
    Update {
        #[command(flatten)]
        row: RowArgs,
        /// New values; nothing behind the = is no value
        #[arg(required = true, value_name = "FIELD=VALUE", value_parser = assignment)]
        fields: Vec<(String, String)>,
        #[command(flatten)]
        seen: SeenArgs,
    },
    /// Delete a row
    #[command(after_help = "Example:\n  tombolo delete patients 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e")]
    Delete {
        #[command(flatten)]
        row: RowArgs,
        #[command(flatten)]
        seen: SeenArgs,
    },
    /// Bring a deleted row back
    #[command(after_help = "Example:\n  tombolo restore patients 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e")]
    Restore(RowArgs),
    /// Make many changes in one local transaction
    #[command(after_help = "Example:\n  tombolo apply changes.jsonl --group\n\n\
        Each line is a JSON object:\n  \
        {\"op\":\"create\",\"table\":\"patients\",\"fields\":{\"name\":\"Rose\",\"site\":\"Kisumu\"}}\n  \
        {\"op\":\"update\",\"table\":\"patients\",\"id\":\"0199...\",\"fields\":{\"weight_kg\":61.5},\"seen\":\"17\"}\n  \
        {\"op\":\"delete\",\"table\":\"patients\",\"id\":\"0199...\"}\n  \
        {\"op\":\"restore\",\"table\":\"patients\",\"id\":\"0199...\"}\n\
        \"op\" may also be called \"change\". Values are text, number, true, false, null, dates like 2024-05-31, decimals as text; \
        a reference is an id or the text that names exactly one row. A create may name its \"id\". The whole file is checked \
        before anything is written. - reads standard input. With --group the server takes all of it or nothing.")]
    Apply {
        /// The file
        #[arg(value_name = "FILE.jsonl")]
        file: PathBuf,
        /// The server takes all changes together or none
        #[arg(long)]
        group: bool,
    },
    /// Create and update rows from a CSV file, in one local transaction
    #[command(after_help = "Example:\n  tombolo import patients patients.csv --set site=Kisumu\n\n\
                            The first line names the fields. With an `id` column, an id that exists becomes an update of what \
                            differs; without one every line makes a new row. The whole file is checked before anything is \
                            written. The rows wait for the next sync like any other edit.")]
    Import {
        /// The table, by name
        table: String,
        /// The CSV file, in UTF-8
        #[arg(value_name = "FILE.csv")]
        file: PathBuf,
        /// A field that gets the same value in all rows; may be repeated
        #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = assignment)]
        set: Vec<(String, String)>,
    },
    /// Write the rows of a table as CSV, as they are shown
    #[command(after_help = "Example:\n  tombolo export patients --out patients.csv")]
    Export {
        /// The table, by name
        table: String,
        /// The file to write; standard output without it
        #[arg(long, value_name = "FILE.csv")]
        out: Option<PathBuf>,
        /// Of the copy with this number, which was set aside when the server's history was put back (see `tombolo status`)
        #[arg(long, value_name = "NUMBER")]
        recovery: Option<u32>,
    },
    /// List the changes that the server does not have yet
    #[command(after_help = "Example:\n  tombolo pending")]
    Pending(Output),
    /// Give up a pending change, and the group that it belongs to
    #[command(after_help = "Example:\n  tombolo discard patients 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e --field notes\n\n\
                            What is being sent at this moment stays until it is answered.")]
    Discard {
        #[command(flatten)]
        row: RowArgs,
        /// Only this field (and those that are decided together with it)
        #[arg(long, value_name = "FIELD")]
        field: Option<String>,
    },
    /// List the changes that clash with those of others
    #[command(after_help = "Example:\n  tombolo conflicts")]
    Conflicts(Output),
    /// Decide a conflict, or what becomes of a refused change; the next sync sends the decision
    #[command(
        after_help = "Example:\n  tombolo resolve patients 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e --field phone=mine --field 'notes=value:seen twice'\n\n\
                            Of a refused change, --mine sends it again and --server gives it up. The values that lose stay in the row's \
                            history."
    )]
    Resolve {
        #[command(flatten)]
        row: RowArgs,
        #[command(flatten)]
        decision: Decision,
    },
    /// Send what is pending and get what others changed
    #[command(after_help = "Example:\n  tombolo sync\n  tombolo sync --only patients/0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e\n\n\
                            manual and metered sync once; auto stays, and keeps syncing until it is interrupted.")]
    Sync(SyncArgs),
    /// Stay connected and print rows as they change, until interrupted
    #[command(after_help = "Example:\n  tombolo watch patients --json")]
    Watch {
        /// Only this table, by name
        table: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

/// Where and as whom.
#[derive(Args, Debug)]
pub(crate) struct LoginArgs {
    /// The server's address
    pub(crate) url: String,
    /// The user's name
    #[arg(long, value_name = "NAME")]
    pub(crate) user: String,
    /// Read the password from standard input; a command line can be read by others
    #[arg(long, required = true)]
    password_stdin: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Which rows.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// The table, by name
    pub(crate) table: String,
    /// Only rows whose field has this value; may be repeated
    #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = assignment)]
    pub(crate) filters: Vec<(String, String)>,
    /// In the order of this field
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    pub(crate) sort: Option<String>,
    /// At most so many rows
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// A row.
#[derive(Args, Debug)]
pub(crate) struct RowArgs {
    /// The table, by name
    pub(crate) table: String,
    /// The row's id
    #[arg(value_parser = row_id)]
    pub(crate) id: RowId,
}

/// What was seen.
#[derive(Args, Debug)]
pub(crate) struct SeenArgs {
    /// What `list --json` or `get --json` printed as "seen"
    #[arg(long, value_name = "S", value_parser = seen)]
    pub(crate) seen: Option<Seen>,
}

/// How the outcome is told.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// A decision.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Decision {
    /// My values, or my deletion, in everything
    #[arg(long)]
    pub(crate) mine: bool,
    /// The server's values, or its deletion, in everything
    #[arg(long)]
    pub(crate) server: bool,
    /// One field: mine, server or value:TEXT; may be repeated
    #[arg(long = "field", value_name = "FIELD=mine|server|value:TEXT", value_parser = choice)]
    pub(crate) fields: Vec<(String, Side)>,
}

/// What is taken for a field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// My value.
    Mine,
    /// The server's.
    Server,
    /// Another one.
    Value(String),
}

/// What is synced, and how.
#[derive(Args, Debug)]
pub(crate) struct SyncArgs {
    /// Of what is pending send only this row (and its group); may be repeated
    #[arg(long, value_name = "TABLE/ID", value_parser = row_name)]
    pub(crate) only: Vec<(String, RowId)>,
    /// manual: sync once; auto: stay and keep syncing; metered: connect, sync, close
    #[arg(long, value_enum, default_value = "manual")]
    pub(crate) mode: ModeWord,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// A mode as a word.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ModeWord {
    /// Sync once
    Manual,
    /// Stay and keep syncing
    Auto,
    /// Connect, sync, close
    Metered,
}

impl From<ModeWord> for Mode {
    fn from(word: ModeWord) -> Self {
        match word {
            ModeWord::Manual => Self::Manual,
            ModeWord::Auto => Self::Automatic,
            ModeWord::Metered => Self::Metered,
        }
    }
}

/// `FIELD=VALUE`.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((field, value)) if !field.is_empty() => Ok((field.to_owned(), value.to_owned())),
        _ => Err("write it as FIELD=VALUE".to_owned()),
    }
}

fn row_id(text: &str) -> Result<RowId, String> {
    text.trim()
        .parse()
        .map_err(|_| "an id is a UUID, like 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e; `tombolo list` shows them".to_owned())
}

fn seen(text: &str) -> Result<Seen, String> {
    text.parse().map_err(|_| "give back what `get --json` printed as \"seen\"".to_owned())
}

fn row_name(text: &str) -> Result<(String, RowId), String> {
    let (table, id) = text.split_once('/').ok_or("write it as TABLE/ID")?;
    Ok((table.to_owned(), row_id(id)?))
}

fn choice(text: &str) -> Result<(String, Side), String> {
    let (field, side) = assignment(text).map_err(|_| "write it as FIELD=mine, FIELD=server or FIELD=value:TEXT")?;
    let side = match side.as_str() {
        "mine" => Side::Mine,
        "server" => Side::Server,
        other => match other.strip_prefix("value:") {
            Some(value) => Side::Value(value.to_owned()),
            None => return Err(format!("`{other}` is neither mine nor server nor value:TEXT")),
        },
    };
    Ok((field, side))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_words_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_with_an_example() {
        for sub in Cli::command().get_subcommands().filter(|sub| sub.get_name() != "help") {
            assert!(sub.get_about().is_some(), "{}", sub.get_name());
            let after = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains("Example:\n  tombolo") || after.contains("Example:\n  echo"), "{}", sub.get_name());
        }
    }

    #[test]
    fn a_decision_is_one_of_three() {
        let id = "0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e";
        let parse = |words: &[&str]| {
            Cli::try_parse_from(["tombolo", "resolve", "patients", id].iter().chain(words)).map(|cli| match cli.command {
                Command::Resolve { decision, .. } => decision.fields,
                _ => panic!("another command"),
            })
        };
        assert!(parse(&[]).is_err());
        assert!(parse(&["--mine", "--server"]).is_err());
        assert!(parse(&["--mine", "--field", "a=mine"]).is_err());
        let fields = parse(&["--field", "a=value:x=y", "--field", "b=server"]).unwrap();
        assert_eq!(fields, [("a".into(), Side::Value("x=y".into())), ("b".into(), Side::Server)]);
        assert!(parse(&["--field", "a=theirs"]).is_err());
    }

    #[test]
    fn a_bad_id_says_what_an_id_is() {
        let error = Cli::try_parse_from(["tombolo", "get", "patients", "17"]).unwrap_err().to_string();
        assert!(error.contains("an id is a UUID"), "{error}");
    }
}
