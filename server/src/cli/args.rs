//! The words of the command line. People and scripts rely on them.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use tombolo_protocol::limits::ACKNOWLEDGED_DAYS_MAX;
use tombolo_protocol::schema::Role;

/// Days of history that a compaction leaves, if nothing else is said; as long as devices keep what they may offer again.
const KEEP_DAYS: u32 = ACKNOWLEDGED_DAYS_MAX as u32;

/// The Tombolo server: one binary with an embedded store.
#[derive(Parser, Debug)]
#[command(
    name = "tombolo-server",
    version,
    about = "The Tombolo server: keeps the log of a workspace in one folder and makes devices that worked offline agree.",
    after_help = "Example:\n  tombolo-server init --schema clinic.toml --data /var/lib/tombolo\n  \
                  echo 'river stone 42' | tombolo-server user add anna --role admin --password-stdin --data /var/lib/tombolo\n  \
                  tombolo-server serve --schema clinic.toml --data /var/lib/tombolo\n\n\
                  Exit codes: 0 done, 1 failed, 2 usage.\n\
                  Commands other than `serve` also work while the server is running on the same folder."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is asked.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a workspace in a folder
    #[command(after_help = "Example:\n  tombolo-server init --schema clinic.toml --data /var/lib/tombolo")]
    Init(Schemed),
    /// Serve a workspace; makes it first where the folder is empty, and takes a changed schema file
    #[command(
        after_help = "Example:\n  tombolo-server serve --schema clinic.toml --data /var/lib/tombolo --listen 0.0.0.0:7171\n\n\
                            Prints one line when it accepts connections. SIGINT and SIGTERM tell clients when to come back, \
                            finish what was begun, and exit."
    )]
    Serve {
        #[command(flatten)]
        place: Schemed,
        /// Address and port to listen on; port 0 takes a free one
        #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7171")]
        listen: SocketAddr,
    },
    /// Add and list users, and change passwords
    #[command(subcommand, after_help = "Example:\n  tombolo-server user list --data /var/lib/tombolo")]
    User(User),
    /// List and revoke devices
    #[command(subcommand, after_help = "Example:\n  tombolo-server device list --data /var/lib/tombolo")]
    Device(Device),
    /// Create and update rows from a CSV file
    #[command(
        after_help = "Example:\n  tombolo-server import patients patients.csv --set site=Kisumu --data /var/lib/tombolo\n\n\
                            The first line names the fields. With an `id` column, an id that exists becomes an update of what \
                            differs; without one every line makes a new row. References are ids, or the text that names \
                            exactly one row. The whole file is checked before the first row is written."
    )]
    Import {
        /// The table, by name
        table: String,
        /// The CSV file, in UTF-8
        file: PathBuf,
        /// A field that gets the same value in all rows; may be repeated
        #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = assignment)]
        set: Vec<(String, String)>,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        output: Output,
    },
    /// Write all rows of a table as CSV
    #[command(after_help = "Example:\n  tombolo-server export patients --out patients.csv --data /var/lib/tombolo")]
    Export {
        /// The table, by name
        table: String,
        /// The file to write; standard output without it
        #[arg(long, value_name = "FILE.csv")]
        out: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Check the log's hashes, rebuild everything from the log and compare, and check the digests
    #[command(after_help = "Example:\n  tombolo-server verify --data /var/lib/tombolo")]
    Verify {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        output: Output,
    },
    /// Put away the contents of older commits, once everything that follows from them was verified
    #[command(after_help = "Example:\n  tombolo-server compact --keep-days 365 --data /var/lib/tombolo\n\n\
                            All rows stay, and so do the commits' hashes, by which devices are recognised however long they were \
                            away. What goes is the history of rows from before. Keep a backup of the folder if that history may \
                            be wanted again. The file gets smaller only while no server runs on the folder; a running server \
                            uses the room again.")]
    Compact {
        /// Commits that are younger than this keep their contents; 0 keeps none
        #[arg(long, value_name = "N", default_value_t = KEEP_DAYS)]
        keep_days: u32,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        output: Output,
    },
}

/// Commands about users.
#[derive(Subcommand, Debug)]
pub(crate) enum User {
    /// Add a user; the password comes on standard input
    #[command(after_help = "Example:\n  echo 'river stone 42' | tombolo-server user add anna --role editor --scope Kisumu \
                            --password-stdin --data /var/lib/tombolo")]
    Add {
        /// The name to log in with
        name: String,
        /// What the user may do
        #[arg(long)]
        role: RoleWord,
        /// A row of the schema's scope table, by id or by the text that names it; may be repeated; all without it
        #[arg(long, value_name = "S")]
        scope: Vec<String>,
        #[command(flatten)]
        password: PasswordIn,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        output: Output,
    },
    /// List the users
    #[command(after_help = "Example:\n  tombolo-server user list --data /var/lib/tombolo")]
    List {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        output: Output,
    },
    /// Give a user another password; it comes on standard input
    #[command(after_help = "Example:\n  echo 'river stone 43' | tombolo-server user password anna --password-stdin \
                            --data /var/lib/tombolo")]
    Password {
        /// The user's name
        name: String,
        #[command(flatten)]
        password: PasswordIn,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        output: Output,
    },
}

/// Commands about devices.
#[derive(Subcommand, Debug)]
pub(crate) enum Device {
    /// List the devices
    #[command(after_help = "Example:\n  tombolo-server device list --data /var/lib/tombolo")]
    List {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        output: Output,
    },
    /// Close a device's sessions and let it connect no more
    #[command(
        after_help = "Example:\n  tombolo-server device revoke 0199c5a4-0d2b-7c11-9e55-3f0a6d1c2b4e --data /var/lib/tombolo"
    )]
    Revoke {
        /// The device's id, as `device list` shows it
        id: String,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        output: Output,
    },
}

/// A data folder and the schema that it is to have.
#[derive(Args, Debug)]
pub(crate) struct Schemed {
    /// The schema file
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: PathBuf,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// A data folder.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// The folder of the workspace
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
}

/// How the outcome is told.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where a password comes from. The only way is standard input: a command line can be read by others.
#[derive(Args, Debug)]
pub(crate) struct PasswordIn {
    /// Read the password from standard input
    #[arg(long, required = true)]
    password_stdin: bool,
}

/// A role as a word.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum RoleWord {
    /// Reads and writes everything in the scopes
    Admin,
    /// Reads and writes what the tables allow
    Editor,
    /// Reads what the tables allow
    Viewer,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Admin => Self::Admin,
            RoleWord::Editor => Self::Editor,
            RoleWord::Viewer => Self::Viewer,
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
        fn walk(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains("Example:\n  "), "{}", command.get_name());
            command.get_subcommands().filter(|sub| sub.get_name() != "help").for_each(walk);
        }
        walk(&Cli::command());
    }

    #[test]
    fn a_password_is_taken_from_standard_input_only() {
        let words = ["tombolo-server", "user", "add", "anna", "--role", "admin", "--data", "d"];
        assert!(Cli::try_parse_from(words).is_err());
        assert!(Cli::try_parse_from(words.into_iter().chain(["--password-stdin"])).is_ok());
        assert!(Cli::try_parse_from(words.into_iter().chain(["--password-stdin", "--password", "x"])).is_err());
    }

    #[test]
    fn a_set_value_may_hold_anything_behind_the_first_equals_sign() {
        assert_eq!(assignment("notes=a=b"), Ok(("notes".into(), "a=b".into())));
        assert_eq!(assignment("notes="), Ok(("notes".into(), String::new())));
        assert!(assignment("notes").is_err() && assignment("=x").is_err());
    }
}
