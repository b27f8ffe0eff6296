//! The words of the command line. People and scripts rely on them.

use super::words::{Side, assignment, choice, row_id, row_name, seen};
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
    after_help = "Example:\n  tombolo sync\n  tombolo list patients --where village=Kolowa\n  \
                  tombolo update patients 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e phone=0700\n  tombolo pending\n  tombolo sync\n\n\
                  `tombolo COMMAND --help` explains a command. Everything but login and sync works without a network.\n\n\
                  Exit codes: 0 done, 1 failed, 2 usage (also: an unknown table or field, a value that a field cannot hold), \
                  3 done but something needs review (conflicts, refused changes), 4 server not reachable (edits are kept), \
                  5 login needed."
)]
pub(crate) struct Cli {
    /// The folder of the store; without it the environment's TOMBOLO_STORE, or the store of the last login
    #[arg(long, global = true, value_name = "DIR", display_order = 100)]
    pub(crate) store: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long, global = true, display_order = 101)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is asked.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Log in at a server; the first time this makes the store
    #[command(
        after_help = "Example:\n  echo 'river stone 42' |\n      tombolo login https://sync.example.org --user anna --password-stdin\n\n\
                      Logging in again keeps everything, also what is pending. Where several people log in on one device, each has \
                      data of their own; the commands work on those of the last login, and --store names others."
    )]
    Login(LoginArgs),
    /// Forget the login; rows and pending edits stay on this device
    #[command(after_help = "Example:\n  tombolo logout")]
    Logout,
    /// List the tables
    #[command(after_help = "Example:\n  tombolo tables")]
    Tables,
    /// Show whose store this is, what is pending, and when it last met the server
    #[command(after_help = "Example:\n  tombolo status")]
    Status,
    /// List the rows of a table
    #[command(after_help = "Example:\n  tombolo list patients --where village=Kolowa --sort name --limit 20\n\n\
                            Several conditions: --where village=Kolowa sex=F. With nothing behind the = it finds rows without a value. References are found by id or by \
                            the text that names the row. --sort=-FIELD puts the greatest first.")]
    List(ListArgs),
    /// Show one row
    #[command(after_help = "Example:\n  tombolo get patients 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e")]
    Get(RowArgs),
    /// Show who changed a row, when and how
    #[command(after_help = "Example:\n  tombolo history patients 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e\n\n\
                            The server is asked. Where it cannot be reached, this device shows what it knows: who changed each \
                            field last, and the changes that were not sent yet.")]
    History(RowArgs),
    /// Make a row and print its id
    #[command(after_help = "Example:\n  tombolo create patients name='Rose Achieng' site=Kisumu\n\n\
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
        after_help = "Example:\n  tombolo update patients 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e \\\n      weight_kg=61.5 notes=\n\n\
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
        {\"op\":\"create\",\"table\":\"sites\",\"fields\":{\"name\":\"Kisumu\"}}\n  \
        {\"op\":\"update\",\"table\":\"sites\",\"id\":\"0199...\",\"fields\":{\"name\":\"Embu\"}}\n  \
        {\"op\":\"delete\",\"table\":\"sites\",\"id\":\"0199...\"}\n  \
        {\"op\":\"restore\",\"table\":\"sites\",\"id\":\"0199...\"}\n\
        \"op\" may also be called \"change\". Values are text, number, true, false, null, dates like 2024-05-31, decimals as text; \
        a reference is an id or the text that names exactly one row. A create may name its \"id\"; \"seen\" is given \
        back as with update. The whole file is checked \
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
                            written. The rows wait for the next sync like any other edit. - reads standard input.")]
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
    #[command(after_help = "Example:\n  tombolo export patients --out patients.csv\n\n\
                            With --json and without --out the rows come as JSON lines, as `list` prints them.")]
    Export {
        /// The table, by name
        table: String,
        /// The file to write; standard output without it, or for -
        #[arg(long, value_name = "FILE.csv")]
        out: Option<PathBuf>,
        /// Of the copy with this number, which was set aside when the server's history was put back (see `tombolo status`)
        #[arg(long, value_name = "NUMBER")]
        recovery: Option<u32>,
    },
    /// List the changes that the server does not have yet
    #[command(after_help = "Example:\n  tombolo pending\n\n\
                            Ready changes go with the next sync. Those in conflict wait for `tombolo resolve`; refused ones wait \
                            until they are changed, or given up with `tombolo discard`.")]
    Pending,
    /// Give up a pending change, and the group that it belongs to
    #[command(
        after_help = "Example:\n  tombolo discard patients 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e \\\n      --field notes\n\n\
                            What is being sent at this moment stays until it is answered."
    )]
    Discard {
        #[command(flatten)]
        row: RowArgs,
        /// Only this field (and those that are decided together with it)
        #[arg(long, value_name = "FIELD")]
        field: Option<String>,
    },
    /// List the changes that clash with those of others
    #[command(after_help = "Example:\n  tombolo conflicts")]
    Conflicts,
    /// Decide a conflict, or what becomes of a refused change; the next sync sends the decision
    #[command(after_help = "Example:\n  tombolo resolve patients 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e --mine\n  \
                      tombolo resolve patients 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e \\\n      \
                      --field phone=mine notes='value:seen twice'\n\n\
                      Of a refused change, --mine sends it again, --server gives it up, and --field sets other values and sends \
                      it again. The values that lose stay in the row's history.")]
    Resolve {
        #[command(flatten)]
        row: RowArgs,
        #[command(flatten)]
        decision: Decision,
    },
    /// Send what is pending and get what others changed
    #[command(after_help = "Example:\n  tombolo sync\n  tombolo sync --only patients/0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e\n  \
                            tombolo sync --mode auto --stay\n\n\
                            It ends when everything is sent and received. With --stay it keeps the connection until it is \
                            interrupted (Ctrl-C); other commands cannot use this data meanwhile.")]
    Sync(SyncArgs),
    /// Stay connected and print rows as they change, until interrupted
    #[command(after_help = "Example:\n  tombolo watch patients --json\n\n\
                            Without a network it stays, and connects when there is one. Other commands cannot use this data \
                            meanwhile.")]
    Watch {
        /// Only this table, by name
        table: Option<String>,
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
    /// What people call this device; others read it beside what is changed here. The first login takes the computer's name, and
    /// later ones leave it
    #[arg(long, value_name = "NAME")]
    pub(crate) device_name: Option<String>,
    /// Read the password from standard input; a command line can be read by others
    #[arg(long, required = true)]
    password_stdin: bool,
}

/// Which rows.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// The table, by name
    pub(crate) table: String,
    /// Only rows whose field has this value; one or several
    #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = assignment)]
    pub(crate) filters: Vec<(String, String)>,
    /// In the order of this field
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    pub(crate) sort: Option<String>,
    /// At most so many rows
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
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
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// One JSON object a line.
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
    /// A field: mine, server or value:TEXT; one or several
    #[arg(long = "field", value_name = "FIELD=mine|server|value:TEXT", value_parser = choice)]
    pub(crate) fields: Vec<(String, Side)>,
}

/// What is synced, and how.
#[derive(Args, Debug)]
pub(crate) struct SyncArgs {
    /// Of what is pending send only these rows (and their groups); one or several
    #[arg(long, value_name = "TABLE/ID", value_parser = row_name)]
    pub(crate) only: Vec<(String, RowId)>,
    /// How it stays connected with --stay: auto sends changes by itself, manual only receives; metered never stays
    #[arg(long, value_enum, default_value = "manual")]
    pub(crate) mode: ModeWord,
    /// Stay connected when everything is synced, until interrupted
    #[arg(long)]
    pub(crate) stay: bool,
}

/// A mode as a word.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ModeWord {
    /// Send when asked
    Manual,
    /// Send by itself
    Auto,
    /// Close when everything is synced
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
        let command = Cli::command();
        for sub in command.get_subcommands().chain([&command]).filter(|sub| sub.get_name() != "help") {
            assert!(sub.get_about().is_some(), "{}", sub.get_name());
            let after = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains("Example:\n  tombolo") || after.contains("Example:\n  echo"), "{}", sub.get_name());
        }
    }

    #[test]
    fn no_command_of_an_example_is_wrapped_on_a_terminal_of_80_columns() {
        let command = Cli::command();
        for sub in command.get_subcommands().chain([&command]) {
            let after = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in after.lines().filter(|line| line.starts_with("  ")) {
                assert!(line.chars().count() <= 80, "{}: {line}", sub.get_name());
            }
        }
    }

    #[test]
    fn every_command_takes_json() {
        for words in [
            &["login", "http://x", "--user", "a", "--password-stdin"][..],
            &["logout"],
            &["create", "t"],
            &["apply", "-"],
            &["export", "t"],
        ] {
            let cli = Cli::try_parse_from(["tombolo"].iter().chain(words).chain(&["--json"])).unwrap();
            assert!(cli.json, "{words:?}");
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
