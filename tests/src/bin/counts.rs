//! Writes the table of long runs into `docs/testing.md` and that of the benchmark into `docs/performance.md`: `cargo run -p tombolo-tests --bin counts`.

fn main() -> anyhow::Result<()> {
    tombolo_tests::counts::write_table()?;
    tombolo_tests::bench::write_table()
}
