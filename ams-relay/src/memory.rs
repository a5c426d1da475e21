//! The memory of the process against its own cap, so that the relay sheds work before the system
//! sheds the relay. What the relay holds is bounded one by one; this is for their sum, and for what
//! the allocator makes of it.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::gate::door::Door;
use crate::hub::Hub;

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// The share of the cap from which on nothing new is taken, in fifths.
const SHARE: u64 = 4;

/// Watches until `stop`: once `used` is over four fifths of `cap`, nobody new is let in, those who
/// are not known yet go, the oldest first, and what is sent to somebody who is not online is given
/// up at once, for all alike. Ends where `used` cannot tell.
pub(crate) async fn watch(
    cap: u64,
    used: impl Fn() -> Option<u64>,
    door: Arc<Door>,
    hub: Arc<Hub>,
    stop: CancellationToken,
) {
    let much = cap.checked_div(5).unwrap_or(cap).saturating_mul(SHARE);
    let mut was_short = false;
    while let Some(used) = used() {
        let is_short = used > much;
        if is_short != was_short {
            tracing::warn!(
                used,
                cap,
                "memory is {}",
                if is_short { "short" } else { "enough again" }
            );
        }
        if is_short || was_short {
            door.shut(is_short);
            hub.run_short(is_short);
        }
        was_short = is_short;
        if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none() {
            return;
        }
    }
    tracing::debug!("the memory of this process cannot be told");
}

/// Bytes of this process that are in memory; none where the system does not tell.
pub(crate) fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_some_memory() {
        let resident = resident().unwrap();
        assert!((1 << 20..1 << 40).contains(&resident), "{resident}");
    }
}
