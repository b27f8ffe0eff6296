//! The program on a machine without a display, as a server or a build machine is.

use std::process::Command;

#[test]
fn without_a_display_it_says_so_in_one_sentence_and_fails() {
    let output = Command::new(env!("CARGO_BIN_EXE_tombolo-desktop"))
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("WAYLAND_SOCKET")
        .env_remove("SLINT_BACKEND")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("tombolo-desktop: no window can be opened here"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(output.stdout.is_empty());
}
