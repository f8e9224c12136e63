"""What the reading process gives up before it opens anything: the network, programs, other processes, unbounded work."""

import ctypes
import errno
import platform
import resource
import struct

from geo.reading.source import Refused

# Of memory that it writes (libraries that it maps are shared and count for nothing), and of addresses.
MEMORY, ADDRESSES = 600_000_000, 4 << 30
# Seconds of processor: some, and some for each megabyte sent. A small file that needs more is built to.
PROCESSOR, PROCESSOR_A_MEGABYTE = 10, 2
WRITTEN = 2 << 30


def walled(size: int) -> None:
    """Give up the network, and all that reading `size` bytes does not need. Refuses to go on where that is not granted."""
    libc = ctypes.CDLL(None, use_errno=True)
    # CLONE_NEWNET, and CLONE_NEWUSER where we are not root: a namespace without interfaces reaches nothing.
    alone = libc.unshare(0x40000000) == 0 or libc.unshare(0x50000000) == 0
    if not _filtered(libc) and not alone:
        raise Refused(
            "读上传的文件时断不开网络:请允许普通用户建名字空间(sysctl kernel.unprivileged_userns_clone=1),或放进没有出口的容器网络。",
            unavailable=True,
        )
    seconds = PROCESSOR + PROCESSOR_A_MEGABYTE * size // 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN, WRITTEN))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# By machine: AUDIT_ARCH, and the numbers of socket, connect, bind, execve, execveat, ptrace, process_vm_writev, kill,
# io_uring_setup. A container that forbids namespaces still grants a filter.
FILTERED = {
    "x86_64": (0xC000003E, (41, 42, 49, 59, 322, 101, 311, 62, 425)),
    "aarch64": (0xC00000B7, (198, 203, 200, 221, 281, 117, 271, 129, 425)),
}


def _filtered(libc: ctypes.CDLL) -> bool:
    """Whether the kernel now answers EPERM to opening a socket, starting a program or touching another process."""
    if platform.machine() not in FILTERED:
        return False
    architecture, numbers = FILTERED[platform.machine()]
    allow, deny = 0x7FFF0000, 0x00050000 | errno.EPERM
    # Classic BPF, (code, jump if true, jump if false, value): another architecture's numbers (and x32's) are all denied.
    steps = [(0x20, 0, 0, 4), (0x15, 1, 0, architecture), (0x06, 0, 0, deny), (0x20, 0, 0, 0), (0x35, len(numbers) + 1, 0, 0x40000000)]
    steps += [(0x15, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    steps += [(0x06, 0, 0, allow), (0x06, 0, 0, deny)]
    program = b"".join(struct.pack("=HBBI", *step) for step in steps)
    header = struct.pack("@HP", len(steps), ctypes.addressof(held := ctypes.create_string_buffer(program)))
    # PR_SET_NO_NEW_PRIVS, without which only root may filter; PR_SET_SECCOMP, SECCOMP_MODE_FILTER.
    granted: bool = libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, header, 0, 0) == 0
    del held
    return granted
