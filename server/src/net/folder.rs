//! The data folder: what lies in it, made and opened with words for the operator.

use super::clock;
use crate::access::OPERATOR;
use crate::store::{Store, StoreError};
use crate::workspace::{Init, InitError, Job, Reply, SchemaRefusal, SchemaReply, Workspace};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use thiserror::Error;
use tombolo_protocol::ids::WorkspaceId;
use tombolo_protocol::schema::{Evolution, Schema, SchemaError};

/// The embedded store.
const STORE_FILE: &str = "tombolo.redb";
/// The socket through which commands reach a running server.
const CONTROL_FILE: &str = "control.sock";
/// How the names of scratch stores begin and end.
const SCRATCH_START: &str = "scratch-";
const SCRATCH_END: &str = ".redb";
/// How the store's file begins.
const STORE_MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";

/// A data folder, whether it is there or not.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// What was done to a data folder before it is served.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The name that the schema gives to the workspace.
    pub schema_name: String,
    /// What was done.
    pub outcome: Outcome,
    /// Tables and fields that a new schema does not have, and that are not shown any more.
    pub hidden: Vec<String>,
}

/// What was done to a data folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The workspace was made.
    Made,
    /// It was there, with this schema.
    Unchanged,
    /// It was there, and has a new schema now.
    Evolved(Evolution),
}

/// Why a data folder or a schema is not usable.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FolderError {
    /// There is no workspace.
    #[error(
        "there is no workspace in {}: nothing was done. Check --data, or make one with `tombolo-server init`",
        folder.display()
    )]
    NoWorkspace {
        /// The data folder.
        folder: PathBuf,
    },
    /// The path is something else than a folder, or may not be used.
    #[error("{} cannot be used as data folder ({error}): nothing was done. Check the path and its rights", folder.display())]
    Unusable {
        /// The path.
        folder: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// Another program's file has the name of the store.
    #[error("{} is not a Tombolo data file: it was not touched. Choose another folder with --data", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The store failed.
    #[error("{}: {error}", folder.display())]
    Store {
        /// The data folder.
        folder: PathBuf,
        /// What is wrong.
        error: StoreError,
    },
    /// The schema file is not sound.
    #[error("the schema is not usable, nothing was changed:\n{0}")]
    Schema(SchemaError),
    /// The schema may not follow the one that the workspace has.
    #[error("{}", refused_words(.0))]
    Refused(SchemaRefusal),
}

fn refused_words(refusal: &SchemaRefusal) -> String {
    match refusal {
        SchemaRefusal::Violated(rows) => {
            format!("rows violate the changed schema, so the workspace keeps the one that it has:\n{}", rows.join("\n"))
        }
        refusal => format!("the changed schema was refused, the workspace keeps the one that it has:\n{refusal}"),
    }
}

impl Folder {
    /// The folder at a path.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where the control socket is.
    pub(crate) fn control_path(&self) -> PathBuf {
        self.path.join(CONTROL_FILE)
    }

    fn store_path(&self) -> PathBuf {
        self.path.join(STORE_FILE)
    }

    /// An error of the store, with the folder that it is about.
    pub(crate) fn explain(&self, error: StoreError) -> FolderError {
        match error {
            StoreError::NotInitialised => FolderError::NoWorkspace { folder: self.path.clone() },
            error => FolderError::Store { folder: self.path.clone(), error },
        }
    }

    /// Opens the store of a folder that was prepared.
    pub(crate) fn open_store(&self) -> Result<Store, StoreError> {
        Store::open(&self.store_path())
    }

    /// How large the file of the store is; zero where there is none.
    pub(crate) fn store_bytes(&self) -> u64 {
        std::fs::metadata(self.store_path()).map_or(0, |file| file.len())
    }

    /// Gives room in the file of the store that is not used back to the disk.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while anybody has it open.
    pub(crate) fn shrink_store(&self) -> Result<(), StoreError> {
        Store::shrink(&self.store_path())
    }

    /// An empty store for a while, on the disk of the folder: a rebuilt workspace may not fit into memory.
    pub(crate) fn scratch(&self) -> Result<Scratch, StoreError> {
        let file = ScratchFile(self.path.join(format!("{SCRATCH_START}{}{SCRATCH_END}", clock::random_id())));
        make_private_file(&file.0).map_err(StoreError::Io)?;
        Ok(Scratch { store: Store::open(&file.0)?, _file: file })
    }

    /// Whether there is a store that can be opened.
    ///
    /// # Errors
    /// When there is none, or something else in its place.
    pub(crate) fn check(&self) -> Result<(), FolderError> {
        match self.starts_like_a_store() {
            Ok(true) => Ok(()),
            Ok(false) => Err(FolderError::Foreign { path: self.store_path() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(FolderError::NoWorkspace { folder: self.path.clone() })
            }
            Err(error) => Err(self.unusable(error)),
        }
    }

    fn starts_like_a_store(&self) -> io::Result<bool> {
        let mut start = Vec::new();
        File::open(self.store_path())?.take(STORE_MAGIC.len() as u64).read_to_end(&mut start)?;
        // Nothing at all is what a crash leaves that came right behind the making of the file.
        Ok(start.is_empty() || start == STORE_MAGIC)
    }

    fn unusable(&self, error: io::Error) -> FolderError {
        FolderError::Unusable { folder: self.path.clone(), error }
    }

    /// Makes the workspace where there is none, and proposes the schema to one that has another.
    ///
    /// # Errors
    /// [`FolderError`]. A schema that is not sound leaves no trace; one that is refused changes nothing.
    pub(crate) fn prepare(&self, schema: Option<&str>) -> Result<Prepared, FolderError> {
        let Some(text) = schema else {
            self.check()?;
            let store = self.open_store().map_err(|error| self.explain(error))?;
            let snapshot = store.snapshot().map_err(|error| self.explain(error))?;
            return Ok(Prepared {
                schema_name: snapshot.schema().name.clone(),
                outcome: Outcome::Unchanged,
                hidden: Vec::new(),
            });
        };
        let schema = Schema::parse(text).map_err(FolderError::Schema)?;
        make_private(&self.path).map_err(|error| self.unusable(error))?;
        let made = match self.check() {
            Ok(()) => false,
            // Made empty here, because the store would make it for everybody to read.
            Err(FolderError::NoWorkspace { .. }) => {
                make_private_file(&self.store_path()).map_err(|error| self.unusable(error))?;
                true
            }
            Err(error) => return Err(error),
        };
        let (outcome, hidden) = self.open_and_propose(&schema).inspect_err(|_| {
            if made {
                // There is no workspace in it. What is left of it is used by the next attempt.
                let _ = std::fs::remove_file(self.store_path());
            }
        })?;
        Ok(Prepared { schema_name: schema.name, outcome, hidden })
    }

    fn open_and_propose(&self, schema: &Schema) -> Result<(Outcome, Vec<String>), FolderError> {
        let explain = |error| self.explain(error);
        let store = self.open_store().map_err(explain)?;
        self.sweep();
        if store.is_initialised().map_err(explain)? {
            let mut workspace = Workspace::open(store).map_err(explain)?;
            return self.propose(&mut workspace, schema);
        }
        let id = WorkspaceId(clock::random_id());
        match Workspace::init(store, Init { id, schema: &schema.text }, clock::now_ms()) {
            Ok(_) | Err(InitError::Exists) => Ok((Outcome::Made, Vec::new())),
            Err(InitError::Schema(error)) => Err(FolderError::Schema(error)),
            Err(InitError::Store(error)) => Err(self.explain(error)),
        }
    }

    /// Removes what a verification or a compaction left behind that was killed. Whoever holds the store is alone in the folder.
    pub(crate) fn sweep(&self) {
        for entry in std::fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with(SCRATCH_START) && name.ends_with(SCRATCH_END)) {
                // The next start tries again.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn propose(&self, workspace: &mut Workspace, schema: &Schema) -> Result<(Outcome, Vec<String>), FolderError> {
        let before = workspace.store().snapshot().map_err(|error| self.explain(error))?.schema().clone();
        let job = Job::Schema { by: OPERATOR, text: schema.text.clone() };
        let mut replies = workspace.apply(vec![job], clock::now_ms()).map_err(|error| self.explain(error))?;
        match replies.pop() {
            Some(Reply::Schema(Ok(SchemaReply::Changed { evolution, .. }))) => {
                Ok((Outcome::Evolved(evolution), hidden_by(&before, schema)))
            }
            Some(Reply::Schema(Err(refusal))) => Err(FolderError::Refused(refusal)),
            _ => Ok((Outcome::Unchanged, Vec::new())),
        }
    }
}

/// The tables and fields that a schema does not have any more, by name.
pub(crate) fn hidden_by(before: &Schema, after: &Schema) -> Vec<String> {
    let mut hidden = Vec::new();
    for table in &before.tables {
        match after.table(table.tag) {
            None => hidden.push(format!("table `{}`", table.name)),
            Some(kept) => {
                let gone = table.fields.iter().filter(|field| kept.field(field.tag).is_none());
                hidden.extend(gone.map(|field| format!("field `{}` of `{}`", field.name, table.name)));
            }
        }
    }
    hidden
}

/// A store that goes with its handle.
pub(crate) struct Scratch {
    pub(crate) store: Store,
    /// Behind the store, so that it is closed first.
    _file: ScratchFile,
}

struct ScratchFile(PathBuf);

impl Drop for ScratchFile {
    fn drop(&mut self) {
        // Whatever is left is named as what it is.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Makes a folder that only its owner may read; one that is there keeps its rights.
fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn make_private_file(path: &Path) -> io::Result<()> {
    let mut options = File::options();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_protocol::schema::{CLINIC, RENTAL};

    #[test]
    fn a_workspace_is_made_once_and_keeps_its_schema() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(&temp.path().join("new/data"));
        assert!(matches!(folder.prepare(None), Err(FolderError::NoWorkspace { .. })));
        let made = folder.prepare(Some(CLINIC)).unwrap();
        assert_eq!((made.schema_name.as_str(), made.outcome), ("clinic", Outcome::Made));
        assert_eq!(folder.prepare(Some(CLINIC)).unwrap().outcome, Outcome::Unchanged);
        assert_eq!(folder.prepare(None).unwrap().schema_name, "clinic");
        let error = folder.prepare(Some(RENTAL)).unwrap_err();
        assert!(error.to_string().starts_with("the changed schema was refused, the workspace keeps"), "{error}");
        assert_eq!(folder.prepare(None).unwrap().schema_name, "clinic");
    }

    #[test]
    fn what_an_older_schema_hides_is_named_and_is_there_again_with_the_newer_one() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        let field = |name: &str, tag: u16| format!("[[table.field]]\nname = \"{name}\"\ntag = {tag}\nkind = \"text\"\n");
        let table = |name: &str, tag: u16| format!("[[table]]\nname = \"{name}\"\ntag = {tag}\n{}", field("a", 1));
        let older = format!("name = \"t\"\n{}", table("one", 1));
        let newer = format!("{older}{}{}", field("b", 2), table("two", 2));
        assert!(folder.prepare(Some(&newer)).unwrap().hidden.is_empty());
        assert_eq!(folder.prepare(Some(&older)).unwrap().hidden, ["field `b` of `one`", "table `two`"]);
        assert!(folder.prepare(Some(&newer)).unwrap().hidden.is_empty());
    }

    #[test]
    fn a_schema_that_is_not_sound_leaves_no_folder_behind() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        let error = Folder::new(&path).prepare(Some("name = \"x\"\n[[table]]\nname = 5\n")).unwrap_err();
        assert!(error.to_string().contains("\nline 3: "), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn another_programs_file_is_not_touched() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(STORE_FILE);
        std::fs::write(&path, "my diary").unwrap();
        let error = Folder::new(temp.path()).prepare(Some(CLINIC)).unwrap_err();
        assert!(matches!(error, FolderError::Foreign { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"my diary");
    }

    #[test]
    fn a_scratch_store_goes_with_its_handle_and_one_that_was_left_with_the_next_start() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        folder.prepare(Some(CLINIC)).unwrap();
        let files = || std::fs::read_dir(temp.path()).unwrap().count();
        let scratch = folder.scratch().unwrap();
        assert_eq!(files(), 2);
        drop(scratch);
        assert_eq!(files(), 1);
        std::mem::forget(folder.scratch().unwrap()._file);
        assert_eq!(files(), 2);
        folder.prepare(Some(CLINIC)).unwrap();
        assert_eq!(files(), 1);
    }

    #[test]
    fn a_file_is_no_folder() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        let error = Folder::new(temp.path()).prepare(Some(CLINIC)).unwrap_err();
        assert!(matches!(error, FolderError::Unusable { .. }), "{error}");
    }

    #[test]
    fn a_folder_in_use_says_so() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        folder.prepare(Some(CLINIC)).unwrap();
        let _held = folder.open_store().unwrap();
        let error = folder.prepare(Some(CLINIC)).unwrap_err();
        assert!(error.to_string().contains("in use by another tombolo-server"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_made_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        Folder::new(&path).prepare(Some(CLINIC)).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join(STORE_FILE))), (0o700, 0o600));
    }
}
