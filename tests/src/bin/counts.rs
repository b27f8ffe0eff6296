//! Writes the table of long runs into `docs/testing.md`: `cargo run -p tombolo-tests --bin counts`.

fn main() -> anyhow::Result<()> {
    tombolo_tests::counts::write_table()
}
