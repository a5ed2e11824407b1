"""What a child gives up before it touches anything of a client's.

Called in children only: `begin` first of all, `close` when everything is loaded, `limit` before each piece of work.
Every fence that the machine cannot put up is left out, and the names of those that stand are told to the parent;
docs/why/engines.md says which holds where. On Linux that is: no new privileges, no capabilities, another user where
the worker is root, an empty network, a short list of system calls (none opens, starts or signals anything), no core
files, few descriptors, and death with the parent.
"""

import contextlib
import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from typing import Final

_LINUX: Final = sys.platform == "linux"
_NOBODY: Final = 65_534
#: Open files: a dozen for each of several jobs.
_FILES: Final = 1024

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_CLONE_NEWUSER: Final = 0x1000_0000
_CLONE_NEWNET: Final = 0x4000_0000
_CLONE_THREAD: Final = 0x0001_0000
_CAPABILITY_VERSION: Final = 0x2008_0522

#: Added to every stated need: thread stacks, the allocator's slack, what Python itself takes while it works.
SLACK_BYTES: Final = 96 * 1024 * 1024

#: What a child may still ask of the kernel: memory, its threads, its clock, and what is already open.
#: Name: number on x86-64, number on arm64 (-1: not there).
_ALLOWED: Final = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "poll": (7, -1), "lseek": (8, 62),
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "pread64": (17, 67), "pwrite64": (18, 68),
    "readv": (19, 65), "writev": (20, 66), "select": (23, -1), "sched_yield": (24, 124), "mremap": (25, 216),
    "madvise": (28, 233), "dup": (32, 23), "nanosleep": (35, 101), "getpid": (39, 172), "sendto": (44, 206),
    "recvfrom": (45, 207), "sendmsg": (46, 211), "recvmsg": (47, 212), "shutdown": (48, 210), "exit": (60, 93),
    "uname": (63, 160), "fcntl": (72, 25), "ftruncate": (77, 46), "gettimeofday": (96, 169), "getrlimit": (97, 163),
    "getrusage": (98, 165), "sysinfo": (99, 179), "getuid": (102, 174), "sigaltstack": (131, 132),
    "gettid": (186, 178), "futex": (202, 98), "sched_setaffinity": (203, 122), "sched_getaffinity": (204, 123),
    "set_tid_address": (218, 96), "restart_syscall": (219, 128), "clock_gettime": (228, 113),
    "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "exit_group": (231, 94), "get_mempolicy": (239, 236),
    "set_robust_list": (273, 99), "pselect6": (270, 72), "ppoll": (271, 73), "prlimit64": (302, 261),
    "getcpu": (309, 168), "newfstatat": (262, 79), "getrandom": (318, 278), "membarrier": (324, 283), "rseq": (334, 293),
}  # fmt: skip
#: Driving a device that is already open.
_IOCTL: Final = (16, 29)
_CLONE: Final = (56, 220)
_CLONE3: Final = (435, 435)
_SECCOMP: Final = (317, 277)
_AUDIT_ARCH: Final = {"x86_64": (0, 0xC000_003E), "aarch64": (1, 0xC000_00B7)}

_ENOSYS: Final = 38
_EPERM: Final = 1


class Fence:
    """The confinement of one process; `standing` names what holds."""

    def __init__(self, parent_pid: int) -> None:
        self._parent_pid = parent_pid
        self._statm = os.open("/proc/self/statm", os.O_RDONLY) if _LINUX else -1
        self.standing: list[str] = []

    def begin(self) -> None:
        """Before anything is loaded: no network, no new privileges, no core files, and no life after the parent."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if not _LINUX:
            return
        if _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
            self.standing.append("no new privileges")
        if any(_libc().unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWNET | _CLONE_NEWUSER)):
            self.standing.append("no network")
        self.die_with_parent()

    def close(self) -> None:
        """After everything is loaded: no rights of root's, and few descriptors."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
        if not _LINUX:
            return
        with contextlib.suppress(OSError):
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(_NOBODY, _NOBODY, _NOBODY)
                os.setresuid(_NOBODY, _NOBODY, _NOBODY)
                self.standing.append("another user")
        header, none = struct.pack("Ii", _CAPABILITY_VERSION, 0), bytes(24)
        if _libc().capset(header, none) == 0:
            self.standing.append("no capabilities")
        self.die_with_parent()  # a change of user forgets it

    def die_with_parent(self, parent_pid: int = 0) -> None:
        """Ask for SIGKILL when the parent ends, and leave at once if it already has."""
        if _LINUX:
            _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != (parent_pid or self._parent_pid):
            os._exit(1)

    def few_calls(self, *, drives_device: bool = False) -> bool:
        """Let the kernel refuse whatever is not in `_ALLOWED`, in every thread; for good. `drives_device`: allow ioctl.

        Opening a file, making a socket, starting or signalling a process then fail with EPERM.
        """
        machine = _AUDIT_ARCH.get(platform.machine())
        if not _LINUX or machine is None:
            return False
        column, arch = machine
        program = _filter(column, arch, [_IOCTL[column]] if drives_device else [])
        buffer = ctypes.create_string_buffer(program, len(program))
        head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
        # One filter for all threads, and none of the slow mitigations that it would bring along.
        mode_filter, tsync, spec_allow = 1, 1, 4
        held: bool = _libc().syscall(_SECCOMP[column], mode_filter, tsync | spec_allow, head) == 0
        return held

    def limit_memory(self, needed_bytes: int) -> None:
        """Let the address space grow by `needed_bytes` and a little over from where it is now."""
        if _LINUX:
            wanted = self._size_bytes() + needed_bytes + SLACK_BYTES
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

    def limit(self, *, cpu_seconds: int, file_bytes: int, memory_bytes: int) -> None:
        """The most that this process may take from now on; for one that does a single piece of work."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing too much is an error, not a death
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        self.limit_memory(memory_bytes)
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (soft, soft))

    def _size_bytes(self) -> int:
        return int(os.pread(self._statm, 64, 0).split()[0]) * resource.getpagesize()


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _filter(column: int, arch: int, more: list[int]) -> bytes:
    """The seccomp program: another architecture dies, what is allowed passes, the rest is EPERM.

    `clone` passes for threads only. `clone3` hides its flags from us, so it is not there, and libc asks `clone`.
    """
    load, equal, bits_set, answer = 0x20, 0x15, 0x45, 0x06
    allow, kill = 0x7FFF_0000, 0x8000_0000
    eperm, enosys = 0x0005_0000 | _EPERM, 0x0005_0000 | _ENOSYS
    numbers = sorted([*more, *(number for numbers in _ALLOWED.values() if (number := numbers[column]) >= 0)])

    def line(code: int, value: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
        return struct.pack("HBBI", code, jump_true, jump_false, value)

    program = [line(load, 4), line(equal, arch, 1, 0), line(answer, kill), line(load, 0)]
    for left, number in zip(range(len(numbers), 0, -1), numbers, strict=True):
        program.append(line(equal, number, left + 5, 0))
    program += [
        line(equal, _CLONE3[column], 0, 1),
        line(answer, enosys),
        line(equal, _CLONE[column], 0, 2),
        line(load, 16),
        line(bits_set, _CLONE_THREAD, 1, 0),
        line(answer, eperm),
        line(answer, allow),
    ]
    return b"".join(program)
