//! Where stores are: one for each (server, user) under the platform's folder for data of programs (section 11).

use crate::url::ServerUrl;
use directories::ProjectDirs;
use std::io;
use std::path::{Path, PathBuf};

/// The name of a store in its folder.
pub const STORE_FILE: &str = "store.redb";

/// The folder under which stores are kept; `None` where the platform names no home.
pub fn data_folder() -> Option<PathBuf> {
    // A database does not roam with a profile: it stays on its machine.
    ProjectDirs::from("", "", "tombolo").map(|dirs| dirs.data_local_dir().to_owned())
}

/// The folder of the store of one user at one server.
pub fn store_folder(data: &Path, url: &ServerUrl, user: &str) -> PathBuf {
    data.join(part(&url.authority())).join(part(user))
}

/// The folders of all stores under `data`, sorted.
///
/// # Errors
/// When a folder cannot be read; a missing one is empty.
pub fn known_stores(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for server in folders(data)? {
        found.extend(folders(&server)?.into_iter().filter(|user| user.join(STORE_FILE).is_file()));
    }
    found.sort();
    Ok(found)
}

fn folders(of: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(of) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// A name as one part of a path on every system. Different names stay different: what is replaced is written as its code.
fn part(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let mut part = String::new();
    for c in name.chars() {
        match c {
            ':' => part.push('_'),
            c if plain(c) => part.push(c),
            c => part.push_str(&format!("%{:x}%", u32::from(c))),
        }
    }
    // Names of only points, and of devices of old systems, are no folders.
    if part.trim_matches('.').is_empty() || part.ends_with('.') || RESERVED.contains(&part.as_str()) {
        part.insert(0, '%');
        part.push('%');
    }
    part
}

const RESERVED: [&str; 8] = ["con", "prn", "aux", "nul", "com1", "com2", "lpt1", "lpt2"];

/// Server and user of a store in its own folder under the data folder, as they were written at the login; `None` for other
/// folders.
pub fn owner_of(folder: &Path) -> Option<(String, String)> {
    let name = |folder: &Path| whole(folder.file_name()?.to_str()?);
    Some((name(folder.parent()?)?, name(folder)?))
}

/// The name that a part of a path was made of.
fn whole(part: &str) -> Option<String> {
    // Names that would be no folders are wrapped: the first character is no code then.
    let part = match part.strip_prefix('%').and_then(|rest| rest.strip_suffix('%')) {
        Some(inner) if inner.trim_matches('.').is_empty() || inner.ends_with('.') || RESERVED.contains(&inner) => inner,
        _ => part,
    };
    let mut name = String::new();
    // Every other piece between the signs is a code.
    for (index, piece) in part.split('%').enumerate() {
        match index % 2 {
            0 => name.push_str(&piece.replace('_', ":")),
            _ => name.push(u32::from_str_radix(piece, 16).ok().and_then(char::from_u32)?),
        }
    }
    Some(name)
}

/// Makes the folder of a store, readable by its owner only: it holds people's data and a token.
///
/// # Errors
/// When it cannot be made.
pub fn make_store_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Makes a new store's file unreadable for others.
///
/// # Errors
/// When the system refuses.
pub fn protect(file: &Path) -> io::Result<()> {
    #[cfg(unix)]
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_a_folder_for_its_server_and_user() {
        let url: ServerUrl = "http://127.0.0.1:7171".parse().unwrap();
        assert_eq!(store_folder(Path::new("data"), &url, "anna"), Path::new("data/127.0.0.1_7171/anna"));
        let url: ServerUrl = "https://sync.example.org".parse().unwrap();
        assert_eq!(store_folder(Path::new("data"), &url, "anna"), Path::new("data/sync.example.org_443/anna"));
        let owner = owner_of(&store_folder(Path::new("data"), &url, "Anna"));
        assert_eq!(owner, Some(("sync.example.org:443".to_owned(), "Anna".to_owned())));
    }

    #[test]
    fn different_users_never_share_a_folder() {
        let names = ["anna", "Anna", "an/na", "an_na", "an:na", "..", ".", "", "anna.", "%", "con", "ann\u{e4}", "%con%"];
        let parts: std::collections::BTreeSet<String> = names.iter().map(|name| part(name)).collect();
        assert_eq!(parts.len(), names.len(), "{parts:?}");
        assert!(names.iter().all(|name| whole(&part(name)).as_deref() == Some(*name)), "{parts:?}");
        assert!(parts.iter().all(|part| !part.contains(['/', '\\', ':']) && part != ".." && part != "." && !part.is_empty()));
    }

    #[test]
    fn known_stores_are_those_with_a_store_in_them() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(known_stores(&data.path().join("none")).unwrap(), Vec::<PathBuf>::new());
        for user in ["b/berta", "a/anna", "a/empty"] {
            std::fs::create_dir_all(data.path().join(user)).unwrap();
        }
        std::fs::write(data.path().join("b/berta").join(STORE_FILE), b"").unwrap();
        std::fs::write(data.path().join("a/anna").join(STORE_FILE), b"").unwrap();
        assert_eq!(known_stores(data.path()).unwrap(), [data.path().join("a/anna"), data.path().join("b/berta")]);
    }
}
