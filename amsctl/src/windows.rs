//! What is particular to Windows.

pub(crate) use ams_rpc::windows::wait_for_exit;

/// Stdout, as far as it matters to whom what was written goes.
pub(crate) mod stdout {
    use std::io;

    /// Nobody is asked: lines are as long as they are, and nothing is coloured.
    pub(crate) fn columns() -> Option<usize> {
        None
    }

    /// The system does not tell what a pipe's reader has taken, so it counts as anything else.
    pub(crate) fn is_pipe() -> bool {
        false
    }

    /// What was written is gone.
    ///
    /// # Errors
    /// None.
    pub(crate) fn wait_until_taken() -> io::Result<()> {
        Ok(())
    }
}
