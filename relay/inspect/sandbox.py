"""What a worker gives up before the first hostile byte, so that a reader that is taken over can do little: opening and changing files,
sockets, programs, signals, other processes' memory, and io_uring (which could do all of it unseen).

A seccomp filter (Linux, seccomp(2)) refuses the system calls. What a worker still has is what it has open: the pool's socket, and what
comes over it. Limits: octets of data memory, CPU seconds for each message, no octet written to a file.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import struct

from relay.model.errors import SluisError

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_SET_MODE_FILTER, _FLAG_TSYNC = 1, 1
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _GREATER_EQUAL, _SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_CLONE_THREAD = 0x00010000

# seccomp(2) itself, audit architecture (linux/audit.h), and system call numbers (the kernel's tables)
_SAME_EVERYWHERE = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsmount": 432,
    "pidfd_open": 434,
    "openat2": 437,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "process_mrelease": 448,
    "fchmodat2": 452,
}
_X86_64 = {
    # files
    **{
        "open": 2,
        "truncate": 76,
        "rename": 82,
        "mkdir": 83,
        "rmdir": 84,
        "creat": 85,
        "link": 86,
        "unlink": 87,
        "symlink": 88,
        "chmod": 90,
    },
    **{"chown": 92, "lchown": 94, "utime": 132, "mknod": 133, "chroot": 161, "mount": 165, "setxattr": 188, "lsetxattr": 189},
    **{"removexattr": 197, "lremovexattr": 198, "utimes": 235, "openat": 257, "mkdirat": 258, "mknodat": 259, "fchownat": 260},
    **{"futimesat": 261, "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268, "utimensat": 280},
    **{"open_by_handle_at": 304, "renameat2": 316, "pivot_root": 155},
    # files that are open: the relay hands over those of the spool
    **{"ftruncate": 77, "fchmod": 91, "fchown": 93, "fsetxattr": 190, "fremovexattr": 199, "fallocate": 285},
    # sockets and queues
    **{"shmget": 29, "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "semget": 64, "msgget": 68, "mq_open": 240},
    **{"mq_unlink": 241, "accept4": 288},
    # processes
    **{"fork": 57, "vfork": 58, "execve": 59, "kill": 62, "ptrace": 101, "rt_sigqueueinfo": 129, "tkill": 200, "tgkill": 234},
    **{"unshare": 272, "rt_tgsigqueueinfo": 297, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "execveat": 322},
    # how fast other processes run, and where
    **{"setpriority": 141, "sched_setparam": 142, "sched_setscheduler": 144, "sched_setaffinity": 203, "ioprio_set": 251},
    **{"migrate_pages": 256, "move_pages": 279, "kcmp": 312, "sched_setattr": 314},
    # the kernel
    **{"add_key": 248, "request_key": 249},
    **{"init_module": 175, "keyctl": 250, "perf_event_open": 298, "finit_module": 313, "bpf": 321, "userfaultfd": 323},
}
_AARCH64 = {
    **{"setxattr": 5, "lsetxattr": 6, "removexattr": 14, "lremovexattr": 15, "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36},
    **{"linkat": 37, "renameat": 38, "mount": 40, "pivot_root": 41, "truncate": 45, "chroot": 51, "fchmodat": 53, "fchownat": 54},
    **{"openat": 56, "utimensat": 88, "open_by_handle_at": 265, "renameat2": 276},
    **{"mq_open": 180, "mq_unlink": 181, "msgget": 186, "semget": 190, "shmget": 194, "socket": 198, "bind": 200, "listen": 201},
    **{"accept": 202, "connect": 203, "accept4": 242},
    **{"unshare": 97, "ptrace": 117, "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "execve": 221},
    **{"rt_tgsigqueueinfo": 240, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "execveat": 281},
    **{"fsetxattr": 7, "fremovexattr": 16, "ftruncate": 46, "fallocate": 47, "fchmod": 52, "fchown": 55},
    **{"ioprio_set": 30, "sched_setparam": 118, "sched_setscheduler": 119, "sched_setaffinity": 122, "setpriority": 140},
    **{"migrate_pages": 238, "move_pages": 239, "kcmp": 272, "sched_setattr": 274, "add_key": 217, "request_key": 218},
    **{"init_module": 105, "keyctl": 219, "perf_event_open": 241, "finit_module": 273, "bpf": 280, "userfaultfd": 282},
}
_ARCHITECTURES = {
    "x86_64": (317, 0xC000003E, {"clone": 56, "prlimit64": 302, "clone3": 435}, (*_X86_64.values(), *_SAME_EVERYWHERE.values())),
    "aarch64": (277, 0xC00000B7, {"clone": 220, "prlimit64": 261, "clone3": 435}, (*_AARCH64.values(), *_SAME_EVERYWHERE.values())),
}


class SandboxUnavailable(SluisError):
    """This machine can't confine a worker; it must not read hostile bytes then."""


def confine(memory: int) -> None:
    """Raises SandboxUnavailable. `memory` is octets of private data (RLIMIT_DATA: the scanner reserves far more address space than it
    uses).
    """
    library = ctypes.CDLL(None, use_errno=True)
    end_with_parent()
    hide_memory()
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    _prctl(library, _PR_SET_NO_NEW_PRIVS, 1)
    _filter(library)


def hide_memory() -> None:
    """No other process of the same user may read this one's memory, trace it or take its descriptors, and there is no core dump: it has
    keys, or a message. For workers, and for the relay itself (prctl(2), ptrace(2)). It lasts until a program is executed. Raises
    SandboxUnavailable.
    """
    _prctl(ctypes.CDLL(None, use_errno=True), _PR_SET_DUMPABLE, 0)


def end_with_parent() -> None:
    """SIGKILL when the process that started this one is gone. It does not pass to forks. Raises SandboxUnavailable."""
    _prctl(ctypes.CDLL(None, use_errno=True), _PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_cpu(seconds: int) -> None:
    """From now on so many seconds of CPU, then SIGXCPU kills the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _prctl(library: ctypes.CDLL, option: int, value: int) -> None:
    if library.prctl(option, value, 0, 0, 0) != 0:
        raise SandboxUnavailable(f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def _filter(library: ctypes.CDLL) -> None:
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        raise SandboxUnavailable(f"no filter is known for {platform.machine()}")
    number, architecture, numbers, refused = known
    program = assemble(architecture, numbers, refused)
    buffer = ctypes.create_string_buffer(program)
    # struct sock_fprog: count, padding, pointer
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))
    # On every thread: the scanner has one of its own by now, in the same memory.
    result = library.syscall(ctypes.c_long(number), _SET_MODE_FILTER, _FLAG_TSYNC, ctypes.byref(header))
    if result != 0:
        raise SandboxUnavailable(f"seccomp: {os.strerror(ctypes.get_errno()) if result < 0 else f'thread {result} refused it'}")


def assemble(architecture: int, numbers: dict[str, int], refused: tuple[int, ...]) -> bytes:
    """The filter in classic BPF. struct seccomp_data: nr at 0, arch at 4, low half of argument 0 at 16 (both machines are
    little-endian).
    """
    deny = _ERRNO | errno.EPERM
    code: list[bytes] = [
        _instruction(_LOAD, 0, 0, 4),
        _instruction(_EQUAL, 1, 0, architecture),
        _instruction(_RETURN, 0, 0, _KILL),
        _instruction(_LOAD, 0, 0, 0),
        # the x32 numbers would walk past every comparison below
        _instruction(_GREATER_EQUAL, 0, 1, 0x40000000),
        _instruction(_RETURN, 0, 0, _KILL),
    ]
    for number in refused:
        code += [_instruction(_EQUAL, 0, 1, number), _instruction(_RETURN, 0, 0, deny)]
    # clone3 hides its flags behind a pointer: ENOSYS, and libc falls back to clone
    code += [_instruction(_EQUAL, 0, 1, numbers["clone3"]), _instruction(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    code += [
        # its own limits, and no other process's
        _instruction(_EQUAL, 0, 4, numbers["prlimit64"]),
        _instruction(_LOAD, 0, 0, 16),
        _instruction(_EQUAL, 0, 1, 0),
        _instruction(_RETURN, 0, 0, _ALLOW),
        _instruction(_RETURN, 0, 0, deny),
        # threads, and no processes
        _instruction(_EQUAL, 0, 4, numbers["clone"]),
        _instruction(_LOAD, 0, 0, 16),
        _instruction(_SET, 0, 1, _CLONE_THREAD),
        _instruction(_RETURN, 0, 0, _ALLOW),
        _instruction(_RETURN, 0, 0, deny),
        _instruction(_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(code)


def _instruction(code: int, yes: int, no: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)
