//! The streams of the process.

use super::failure::Failure;
use crate::control::Console;
use crate::passwords::PASSWORD_BYTES_MAX;
use serde::Serialize;
use std::io::{self, Read, Write};

/// Prints a line. A reader that went away (`| head`) is no failure of the command, which is done by then.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints one JSON object as a line.
pub(super) fn say_json(object: &impl Serialize) {
    say(&serde_json::to_string(object).expect("plain data is JSON"));
}

/// Progress on standard error, and a file somewhere.
pub(super) struct Terminal<'a> {
    /// Where the file goes; nowhere for commands that make none.
    pub(super) file: Option<&'a mut dyn Write>,
}

impl Console for Terminal<'_> {
    fn progress(&mut self, text: &str) {
        // Nobody may be there to read it: the work goes on. Whoever gives it up ends this process.
        let _ = writeln!(io::stderr(), "{text}");
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }
}

/// The password on standard input: its first line, or all of it where there is no line end.
pub(super) fn read_password() -> Result<String, Failure> {
    let mut text = String::new();
    let most = u64::try_from(PASSWORD_BYTES_MAX + 2).unwrap_or(u64::MAX);
    io::stdin().take(most).read_to_string(&mut text).map_err(|error| {
        Failure::new(format!("the password cannot be read from standard input ({error}): nothing was changed"))
    })?;
    Ok(first_line(&text).to_owned())
}

fn first_line(text: &str) -> &str {
    let line = text.split('\n').next().unwrap_or_default();
    line.strip_suffix('\r').unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_ends_at_the_end_of_its_line() {
        assert_eq!(first_line("river stone\n"), "river stone");
        assert_eq!(first_line("river stone\r\nmore\n"), "river stone");
        assert_eq!(first_line(" river "), " river ");
        assert_eq!(first_line(""), "");
    }
}
