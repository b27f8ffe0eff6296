//! Writes `ui/licences.txt`, which the desktop application shows in its About dialog: `cargo run -p tombolo-tests --bin licences`.
//! To be called when dependencies change; a test says so.

fn main() -> anyhow::Result<()> {
    tombolo_tests::licences::write()
}
