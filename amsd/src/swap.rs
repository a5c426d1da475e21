//! Whether memory may be written to a disk as it is: of interest where a key could not be kept out of
//! swap.

use std::fs;

/// Whether there is swap that is neither encrypted nor in memory itself.
pub(crate) fn is_in_the_clear() -> bool {
    let Ok(swaps) = fs::read_to_string("/proc/swaps") else { return false };
    devices(&swaps).any(|device| !is_safe(device, &mapped_by(device)))
}

/// The first column of what the system lists, below its heading.
fn devices(swaps: &str) -> impl Iterator<Item = &str> {
    swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next())
}

/// `mapped_by`: how the device mapper calls it.
fn is_safe(device: &str, mapped_by: &str) -> bool {
    device.starts_with("/dev/zram") || mapped_by.starts_with("CRYPT-")
}

fn mapped_by(device: &str) -> String {
    let name = device.strip_prefix("/dev/").unwrap_or(device);
    fs::read_to_string(format!("/sys/block/{name}/dm/uuid")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_safe_in_memory_and_under_a_cipher() {
        let swaps = "Filename\tType\tSize\tUsed\tPriority\n\
                     /dev/zram0 partition 1 0 100\n/swapfile file 2 0 -2\n";
        assert_eq!(devices(swaps).collect::<Vec<_>>(), ["/dev/zram0", "/swapfile"]);
        assert_eq!(devices("Filename\n").count(), 0);
        assert!(is_safe("/dev/zram0", ""));
        assert!(is_safe("/dev/dm-1", "CRYPT-LUKS2-8f\n"));
        assert!(!is_safe("/dev/dm-2", "LVM-8f\n"));
        assert!(!is_safe("/swapfile", ""));
    }
}
