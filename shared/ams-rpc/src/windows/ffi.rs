//! The few calls of the system that no crate makes for us. The only file with unsafe code, which
//! `tests/tests/walls.rs` holds: each block is one call, and says why it may be made.
#![allow(
    unsafe_code,
    reason = "the system's own calls; every pointer is to something of the same function"
)]

use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::null_mut;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    HANDLE, HANDLE_FLAG_INHERIT, LocalFree, SetHandleInformation,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES, TOKEN_QUERY, TokenUser,
};
use windows_sys::Win32::Storage::FileSystem::{CreateDirectoryW, GetDiskFreeSpaceExW};
use windows_sys::Win32::System::Pipes::{GetNamedPipeServerProcessId, PeekNamedPipe};
use windows_sys::Win32::System::Threading::{
    OpenProcess, OpenProcessToken, PROCESS_ACCESS_RIGHTS, PROCESS_QUERY_LIMITED_INFORMATION,
    PROCESS_SYNCHRONIZE, WaitForSingleObject,
};

/// Room for a `TOKEN_USER` and the longest SID behind it, aligned as the system wants it.
#[repr(C, align(16))]
struct TokenUserBuffer([u8; 128]);

fn checked(done: i32) -> io::Result<()> {
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Text as the system takes it.
fn wide(text: &std::ffi::OsStr) -> Vec<u16> {
    text.encode_wide().chain([0]).collect()
}

fn process(pid: u32, rights: PROCESS_ACCESS_RIGHTS) -> io::Result<OwnedHandle> {
    // SAFETY: takes no pointers.
    let handle = unsafe { OpenProcess(rights, 0, pid) };
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else has it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// The bytes of the SID of the user that the process runs as.
pub(super) fn user_of(pid: u32) -> io::Result<Vec<u8>> {
    let process = process(pid, PROCESS_QUERY_LIMITED_INFORMATION)?;
    let mut token: HANDLE = null_mut();
    // SAFETY: the process is open, and the token's place outlives the call.
    checked(unsafe { OpenProcessToken(process.as_raw_handle(), TOKEN_QUERY, &raw mut token) })?;
    // SAFETY: just opened, and nobody else has it.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    let mut buffer = TokenUserBuffer([0; 128]);
    let mut length = 0;
    // SAFETY: the buffer is aligned, as long as is said, and outlives the call.
    checked(unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            buffer.0.as_mut_ptr().cast(),
            128,
            &raw mut length,
        )
    })?;
    // It begins with a pointer to the SID, which the system put behind it.
    let bytes = &buffer.0;
    let odd = || io::Error::from(io::ErrorKind::InvalidData);
    let pointer = bytes.first_chunk().map(|at| usize::from_ne_bytes(*at)).ok_or_else(odd)?;
    let offset = pointer.checked_sub(bytes.as_ptr().addr()).ok_or_else(odd)?;
    let end = usize::try_from(length).map_err(|_| odd())?;
    bytes.get(offset..end).map(<[u8]>::to_vec).ok_or_else(odd)
}

/// The process that serves a pipe.
pub(super) fn server_of(pipe: BorrowedHandle<'_>) -> io::Result<u32> {
    let mut pid = 0;
    // SAFETY: the pipe is open as long as it is borrowed, and the number's place outlives the call.
    checked(unsafe { GetNamedPipeServerProcessId(pipe.as_raw_handle(), &raw mut pid) })?;
    Ok(pid)
}

/// An error where the other end of a pipe is closed and nothing is left to read.
pub(super) fn peek(pipe: BorrowedHandle<'_>) -> io::Result<()> {
    // SAFETY: the pipe is open as long as it is borrowed; every buffer may be left out.
    checked(unsafe {
        PeekNamedPipe(pipe.as_raw_handle(), null_mut(), 0, null_mut(), null_mut(), null_mut())
    })
}

/// Waits until a process has ended, for so long at most.
pub(super) fn wait(pid: u32, patience: Duration) -> io::Result<()> {
    let process = process(pid, PROCESS_SYNCHRONIZE)?;
    // The largest number would mean without end.
    let milliseconds = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX.saturating_sub(1));
    // SAFETY: the process is open during the call.
    let _ = unsafe { WaitForSingleObject(process.as_raw_handle(), milliseconds) };
    Ok(())
}

/// Programs that are started from here do not get this handle.
pub(super) fn keep(handle: BorrowedHandle<'_>) -> io::Result<()> {
    // SAFETY: the handle is open as long as it is borrowed.
    checked(unsafe { SetHandleInformation(handle.as_raw_handle(), HANDLE_FLAG_INHERIT, 0) })
}

/// Bytes that are free for us where `path` is.
pub(super) fn free(path: &Path) -> io::Result<u64> {
    let path = wide(path.as_os_str());
    let mut free = 0;
    // SAFETY: the path ends with a zero; it and the number's place outlive the call, and the other
    // numbers may be left out.
    checked(unsafe { GetDiskFreeSpaceExW(path.as_ptr(), &raw mut free, null_mut(), null_mut()) })?;
    Ok(free)
}

/// A security descriptor that the system made.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    fn of(sddl: &str) -> io::Result<Self> {
        let sddl = wide(sddl.as_ref());
        let mut made = null_mut();
        // SAFETY: the text ends with a zero; it and the pointer's place outlive the call.
        checked(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                sddl.as_ptr(),
                SDDL_REVISION_1,
                &raw mut made,
                null_mut(),
            )
        })?;
        Ok(Self(made))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the system allocated it for us, and nobody else frees it.
        unsafe { LocalFree(self.0) };
    }
}

/// Makes a folder with these rights.
pub(super) fn make_folder(path: &Path, sddl: &str) -> io::Result<()> {
    let path = wide(path.as_os_str());
    let descriptor = Descriptor::of(sddl)?;
    let length = size_of::<SECURITY_ATTRIBUTES>();
    let attributes = SECURITY_ATTRIBUTES {
        nLength: u32::try_from(length).unwrap_or_default(),
        lpSecurityDescriptor: descriptor.0,
        bInheritHandle: 0,
    };
    // SAFETY: the path ends with a zero; it, the attributes and what they point to outlive the
    // call.
    checked(unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) })
}

/// The rights of an open file, folder or pipe, and its integrity where it has one.
#[cfg(test)]
pub(super) fn rights_of(handle: BorrowedHandle<'_>, is_file: bool) -> io::Result<String> {
    use windows_sys::Win32::Security::Authorization::{
        ConvertSecurityDescriptorToStringSecurityDescriptorW, GetSecurityInfo, SE_FILE_OBJECT,
        SE_KERNEL_OBJECT,
    };
    use windows_sys::Win32::Security::{
        DACL_SECURITY_INFORMATION, LABEL_SECURITY_INFORMATION, SACL_SECURITY_INFORMATION,
    };

    let what = DACL_SECURITY_INFORMATION | LABEL_SECURITY_INFORMATION;
    let mut found = null_mut();
    let kind = if is_file { SE_FILE_OBJECT } else { SE_KERNEL_OBJECT };
    // SAFETY: the handle is open as long as it is borrowed; the descriptor's place outlives the
    // call, and the other places may be left out.
    let error = unsafe {
        GetSecurityInfo(
            handle.as_raw_handle(),
            kind,
            what,
            null_mut(),
            null_mut(),
            null_mut(),
            null_mut(),
            &raw mut found,
        )
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error.cast_signed()));
    }
    let found = Descriptor(found);
    let (mut text, mut length) = (null_mut(), 0);
    // SAFETY: the descriptor is one; the other places outlive the call.
    checked(unsafe {
        ConvertSecurityDescriptorToStringSecurityDescriptorW(
            found.0,
            SDDL_REVISION_1,
            // The integrity stands among what is audited, of which nothing was asked for.
            what | SACL_SECURITY_INFORMATION,
            &raw mut text,
            &raw mut length,
        )
    })?;
    let length = usize::try_from(length).unwrap_or_default();
    // SAFETY: the system wrote so many units there, for us.
    let units = unsafe { std::slice::from_raw_parts(text, length) }.to_vec();
    // SAFETY: the system allocated it for us, and nobody else frees it.
    unsafe { LocalFree(text.cast()) };
    Ok(String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned())
}
