"""What the reading process gives up before it opens anything: the network, other people's files, programs, unbounded work."""

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from geo.reading.refusal import Refused

# Of memory that it writes (libraries that it maps are shared and count for nothing), and of addresses.
MEMORY, ADDRESSES = 600_000_000, 4 << 30
# Seconds of processor: some, and some for each megabyte sent. A small file that needs more is built to.
PROCESSOR, PROCESSOR_A_MEGABYTE = 10, 2
WRITTEN = 2 << 30


def walled(size: int, sent: Path | None = None, job: Path | None = None) -> None:
    """Give up the network, and all that reading `size` bytes does not need. Refuses to go on where that is not granted.

    Of the file system, where the kernel can (Landlock, since 5.13), there is left what was `sent` and what programs are made
    of, to be read, and the folder of the `job`, to be written.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # PR_SET_NO_NEW_PRIVS, without which only root may take rights away for good.
    libc.prctl(38, 1, 0, 0, 0)
    confined(libc, sent, job)
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
    # PR_SET_SECCOMP, SECCOMP_MODE_FILTER.
    granted: bool = libc.prctl(22, 2, header, 0, 0) == 0
    del held
    return granted


# Rights of Landlock that are taken away, by the version of its interface: all that there are, but for orders to devices.
RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1}
READ, LOOKED_INTO = 1 << 2, 1 << 2 | 1 << 3
CREATE, ADD, RESTRICT = 444, 445, 446


def confined(libc: ctypes.CDLL, sent: Path | None, job: Path | None) -> bool:
    """Whether the kernel now keeps all files from this process but those that it needs."""
    version = libc.syscall(CREATE, None, 0, 1)
    if version < 1:
        return False
    rights = RIGHTS.get(version, (1 << 15) - 1)
    ruleset = libc.syscall(CREATE, struct.pack("=Q", rights), 8, 0)
    if ruleset < 0:
        return False
    for path, granted in (*_needed(sent), *([(job, rights)] if job else [])):
        if path.exists():
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            libc.syscall(ADD, ruleset, 1, struct.pack("=Qi", granted if path.is_dir() else granted & READ, place), 0)
            os.close(place)
    done: bool = libc.syscall(RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return done


def _needed(sent: Path | None) -> Iterable[tuple[Path, int]]:
    """What is read: programs and their data, ours among them but not what lies beside them, and what was sent."""
    for place in (sys.prefix, sys.base_prefix, "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/null", "/dev/urandom"):
        yield Path(place), LOOKED_INTO
    yield Path(__file__).parents[1], LOOKED_INTO
    if sent is not None:
        # The other parts of a layer lie beside the one that was named.
        yield (sent.parent if sent.suffix.lower() in (".shp", ".dbf", ".tab", ".mif") else sent), LOOKED_INTO
