//! `tombolo-server`: the server on the command line.

fn main() -> std::process::ExitCode {
    tombolo_server::cli::main()
}
