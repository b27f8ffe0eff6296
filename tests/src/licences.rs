//! The licences of what others wrote and the desktop application has in it, for its About dialog: `ui/licences.txt`. Most of them
//! ask for nothing but that their text goes along.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the application runs: the targets of `deny.toml`.
pub const TARGETS: [&str; 5] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-pc-windows-msvc",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
];

const FILE: &str = "ui/licences.txt";
/// Beginnings of the names of files that hold a licence or what it asks to be said, in small letters.
const FILES: [&str; 5] = ["licen", "copying", "notice", "copyright", "unlicense"];
/// Columns of a line, so that the largest text fits the smallest window.
const COLUMNS: usize = 56;
/// What is drawn with, and from.
const DRAWN: [(&str, &str); 2] =
    [("Inter typeface · OFL-1.1", "ui/ui/fonts/LICENSE"), ("Lucide icons · ISC", "ui/ui/icons/LICENSE")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A crate of others in the application.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    authors: Vec<String>,
    manifest_path: PathBuf,
}

fn cargo(args: &[&str]) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(args).arg("--locked").current_dir(root()).output()?;
    ensure!(output.status.success(), "cargo {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The crates of others that the application for a target is made of.
///
/// # Errors
/// Cargo does not know them.
pub fn parts(target: &str) -> Result<BTreeSet<Part>> {
    let tree = ["tree", "-p", "tombolo-ui", "-e", "normal,no-proc-macro", "--prefix", "none", "-f", "{p}", "--target", target];
    cargo(&tree)?
        .lines()
        .filter(|line| !line.is_empty() && !line.contains("(/"))
        .map(|line| {
            let mut words = line.split_whitespace();
            let (name, version) = words.next().zip(words.next()).with_context(|| format!("cargo tree said {line}"))?;
            Ok(Part { name: name.to_owned(), version: version.trim_start_matches('v').to_owned() })
        })
        .collect()
}

/// The file as it stands.
///
/// # Errors
/// There is none.
pub fn file() -> Result<String> {
    Ok(std::fs::read_to_string(root().join(FILE))?)
}

/// How a part is named in the file.
pub fn named(part: &Part) -> String {
    format!("{} {}", part.name, part.version)
}

/// Writes the file.
///
/// # Errors
/// A part has no licence, or a file cannot be read or written.
pub fn write() -> Result<()> {
    let mut all = BTreeSet::new();
    for target in TARGETS {
        all.extend(parts(target)?);
    }
    let metadata: Metadata = serde_json::from_str(&cargo(&["metadata", "--format-version", "1"])?)?;
    let packages: BTreeMap<(&str, &str), &Package> =
        metadata.packages.iter().map(|package| ((package.name.as_str(), package.version.as_str()), package)).collect();
    // Texts that differ in nothing but the breaks of their lines are one.
    let mut texts: BTreeMap<String, (Vec<String>, String)> = BTreeMap::new();
    for part in &all {
        let package = packages
            .get(&(part.name.as_str(), part.version.as_str()))
            .with_context(|| format!("cargo metadata does not know {}", named(part)))?;
        let licence = package.license.as_deref().unwrap_or("its own licence");
        for text in texts_of(package, licence)? {
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            texts.entry(words).or_insert_with(|| (Vec::new(), text)).0.push(format!("{} · {licence}", named(part)));
        }
    }
    let mut groups: Vec<(Vec<String>, String)> = texts.into_values().collect();
    groups.sort();
    for (name, file) in DRAWN.iter().rev() {
        groups.insert(0, (vec![(*name).to_owned()], std::fs::read_to_string(root().join(file))?));
    }
    let mut page = String::new();
    for (names, text) in groups {
        for name in names {
            wrap(&mut page, &format!("■ {name}"))?;
        }
        writeln!(page)?;
        text.trim().lines().try_for_each(|line| wrap(&mut page, line))?;
        writeln!(page)?;
    }
    Ok(std::fs::write(root().join(FILE), page.trim_end().to_owned() + "\n")?)
}

/// The texts that have to go along with a part: of several licences to choose from MIT, where it is one of them.
fn texts_of(package: &Package, licence: &str) -> Result<Vec<String>> {
    if licence.contains("LicenseRef-Slint-Royalty-free-2.0") {
        return Ok(vec![
            "Copyright (c) SixtyFPS GmbH. Used under the Slint Royalty-free Desktop, Mobile, and Web Applications License, version \
             2.0: https://slint.dev/terms-and-conditions"
                .to_owned(),
        ]);
    }
    let folder = package.manifest_path.parent().context("a manifest lies in a folder")?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let name = |file: &PathBuf| file.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    files.retain(|file| file.is_file() && FILES.iter().any(|begin| name(file).starts_with(begin)));
    files.sort();
    let may_choose = !licence.contains(" AND ");
    let chosen = files.iter().find(|file| may_choose && name(file).contains("mit"));
    let wanted: Vec<PathBuf> = chosen.map_or(files.clone(), |mit| {
        // What is to be noted besides goes along, whatever is chosen.
        files.iter().filter(|file| *file == mit || name(file).starts_with("notice")).cloned().collect()
    });
    if wanted.is_empty() {
        return Ok(vec![of_the_kind(package, licence)?]);
    }
    wanted.iter().map(|file| Ok(String::from_utf8_lossy(&std::fs::read(file)?).into_owned())).collect()
}

/// The text of a licence whose part came without it: ours is the same, of those that ask for their text.
fn of_the_kind(package: &Package, licence: &str) -> Result<String> {
    let authors =
        if package.authors.is_empty() { format!("the authors of {}", package.name) } else { package.authors.join(", ") };
    let file = if licence.contains("MIT") {
        "LICENSE-MIT"
    } else if licence.contains("Apache-2.0") {
        "LICENSE-APACHE"
    } else {
        return Ok(format!("By {authors}. Its text did not come with it; it is at https://spdx.org/licenses/{licence}.html"));
    };
    let ours = std::fs::read_to_string(root().join(file))?;
    let others =
        |line: &str| if line.starts_with("Copyright (c)") { format!("Copyright (c) {authors}") } else { line.to_owned() };
    Ok(ours.lines().map(others).collect::<Vec<_>>().join("\n"))
}

/// A line, broken between words where it is longer than a window is wide.
fn wrap(page: &mut String, line: &str) -> std::fmt::Result {
    let line = line.trim_end();
    if line.chars().count() <= COLUMNS {
        return writeln!(page, "{line}");
    }
    let mut width = 0;
    for word in line.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > COLUMNS {
            writeln!(page)?;
            width = 0;
        }
        if width > 0 {
            page.push(' ');
            width += 1;
        }
        page.push_str(word);
        width += length;
    }
    writeln!(page)
}
