//! `tombolo-server`: the server on the command line.

/// Rows become many small pieces of memory, and few of them are kept for long.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    tombolo_server::cli::main()
}
