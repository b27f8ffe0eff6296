//! Random small schemas: scopes, references, field groups, strict tables, unique fields; and what they grow into.

use super::rng::Rng;
use std::fmt::Write;

/// A schema and the versions that it grows into, each as the text of its file.
pub struct Schemas {
    /// Oldest first.
    pub versions: Vec<String>,
    /// Whether the sites are scopes.
    pub has_scopes: bool,
}

/// What the server writes into creates of older apps.
pub const INITIAL: &str = "new";

struct Draft {
    tables: Vec<TableDraft>,
    scoped: bool,
}

struct TableDraft {
    tag: u16,
    scoped: bool,
    strict: bool,
    fields: Vec<String>,
    group: Option<[u16; 2]>,
    last: u16,
}

/// The table of scopes always has this tag.
pub const SITES: u16 = 1;
/// Its only field.
pub const SITE_NAME: u16 = 1;

impl Schemas {
    /// The schemas of a seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::part(seed, 1);
        let scoped = rng.chance(2, 3);
        let mut draft = Draft { tables: Vec::new(), scoped };
        for index in 0..2 + rng.index(2) {
            let table = TableDraft::draw(&mut rng, index as u16 + 2, scoped);
            draft.tables.push(table);
        }
        draft.scoped &= draft.tables.iter().any(|table| table.scoped);
        let scoped = draft.scoped;
        let mut versions = vec![draft.text()];
        for _ in 0..2 {
            draft.grow(&mut rng);
            versions.push(draft.text());
        }
        Self { versions, has_scopes: scoped }
    }
}

impl TableDraft {
    fn draw(rng: &mut Rng, tag: u16, scoped: bool) -> Self {
        let mut table = Self {
            tag,
            scoped: scoped && rng.chance(2, 3),
            strict: rng.chance(1, 4),
            fields: Vec::new(),
            group: None,
            last: 0,
        };
        table.add("text", "");
        table.add(rng.pick(&["text", "int"]), "");
        if rng.chance(1, 2) {
            let first = table.add("int", "");
            let second = table.add("text", "");
            table.group = Some([first, second]);
        }
        if rng.chance(1, 3) {
            table.add("text", "unique = true\n");
        }
        if tag > 2 && rng.chance(2, 3) {
            let target = 2 + rng.below(u64::from(tag) - 2);
            let keep = if rng.chance(1, 4) { "on_delete = \"keep\"\n" } else { "" };
            table.add("reference", &format!("references = \"t{target}\"\n{keep}"));
        }
        if rng.chance(1, 3) {
            table.add("text", "choices = [\"a\", \"b\"]\n");
        }
        if table.scoped {
            table.add("reference", "references = \"sites\"\nrequired = true\n");
        }
        table
    }

    fn add(&mut self, kind: &str, rest: &str) -> u16 {
        self.last += 1;
        let tag = self.last;
        self.fields.push(format!("[[table.field]]\nname = \"f{tag}\"\ntag = {tag}\nkind = \"{kind}\"\n{rest}"));
        tag
    }
}

impl Draft {
    /// One more field somewhere, sometimes required from now on; sometimes one more table.
    fn grow(&mut self, rng: &mut Rng) {
        let index = rng.index(self.tables.len());
        let rest = if rng.chance(1, 2) { "required = true\ninitial = \"new\"\n" } else { "" };
        self.tables[index].add("text", rest);
        if rng.chance(1, 3) {
            let table = TableDraft::draw(rng, self.tables.len() as u16 + 2, self.scoped);
            self.tables.push(table);
        }
    }

    fn text(&self) -> String {
        let mut text = "name = \"random\"\n".to_owned();
        if self.scoped {
            text += "scope_table = \"sites\"\n";
        }
        text += "[[table]]\nname = \"sites\"\ntag = 1\ntitle = [\"f1\"]\n";
        text += "[[table.field]]\nname = \"f1\"\ntag = 1\nkind = \"text\"\nrequired = true\n";
        for table in &self.tables {
            let _ = write!(text, "[[table]]\nname = \"t{0}\"\ntag = {0}\ntitle = [\"f1\"]\n", table.tag);
            if table.strict {
                text += "strict = true\n";
            }
            if table.scoped {
                let scope = table.fields.iter().position(|field| field.contains("\"sites\"")).unwrap_or(0) + 1;
                let _ = writeln!(text, "scope = \"f{scope}\"");
            }
            table.fields.iter().for_each(|field| text += field);
            if let Some([first, second]) = table.group {
                let _ = write!(text, "[[table.group]]\nname = \"g\"\nfields = [\"f{first}\", \"f{second}\"]\n");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_client::protocol::schema::Schema;

    #[test]
    fn every_random_schema_is_a_sound_one_and_so_is_what_it_grows_into() {
        for seed in 0..500 {
            for text in Schemas::of(seed).versions {
                if let Err(error) = Schema::parse(&text) {
                    panic!("seed {seed}: {error}\n{text}");
                }
            }
        }
    }
}
