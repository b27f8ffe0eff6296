//! A limit on the size of files is a full disk like any other.

/// Catches the signal of a file size limit (SIGXFSZ), which would end the process: caught, the limit is an error of the write like
/// any full disk. For programs to call as they start; a second call changes nothing.
#[cfg(unix)]
pub fn outlive_file_size_limit() {
    use tokio::signal::unix::{SignalKind, signal};
    const FILE_SIZE_LIMIT: i32 = 25;
    // Without a runtime the limit ends the process, which loses nothing either.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    // The handler stays when the runtime is gone.
    runtime.block_on(async { drop(signal(SignalKind::from_raw(FILE_SIZE_LIMIT))) });
}

/// Does nothing: there is no such signal here.
#[cfg(not(unix))]
pub fn outlive_file_size_limit() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    /// Whether the process catches SIGXFSZ, as the kernel has it.
    fn is_caught() -> Option<bool> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        Some(u64::from_str_radix(caught.trim(), 16).ok()? & 1 << 24 != 0)
    }

    #[test]
    fn the_signal_of_a_file_size_limit_is_caught_also_when_the_runtime_is_gone() {
        assert_eq!(is_caught(), Some(false));
        super::outlive_file_size_limit();
        assert_eq!(is_caught(), Some(true));
    }
}
