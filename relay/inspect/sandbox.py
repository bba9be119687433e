"""What a worker gives up before the first hostile byte: writing, processes, networks; so that a reader that is taken over can do little.

A seccomp filter (Linux, seccomp(2)) refuses sockets other than unix ones, programs, other processes' memory and io_uring (which could
do all of it
unseen). Limits: octets of data memory, CPU seconds for each message, no file written.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import struct

from relay.model.errors import SluisError

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _GREATER_EQUAL, _SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_CLONE_THREAD = 0x00010000
_AF_UNIX = 1

# audit architecture (linux/audit.h) and system call numbers (the kernel's tables)
_ARCHITECTURES = {
    "x86_64": (
        0xC000003E,
        {"socket": 41, "clone": 56, "clone3": 435},
        # fork vfork execve ptrace mount unshare setns execveat process_vm_readv process_vm_writev io_uring_setup bpf userfaultfd
        # perf_event_open keyctl init_module finit_module open_by_handle_at
        (57, 58, 59, 101, 165, 272, 308, 322, 310, 311, 425, 321, 323, 298, 250, 175, 313, 304),
    ),
    "aarch64": (
        0xC00000B7,
        {"socket": 198, "clone": 220, "clone3": 435},
        (221, 117, 40, 97, 268, 281, 270, 271, 425, 280, 282, 241, 219, 105, 273, 265),
    ),
}


class SandboxUnavailable(SluisError):
    """This machine can't confine a worker; it must not read hostile bytes then."""


def confine(memory: int) -> None:
    """Raises SandboxUnavailable. `memory` is octets of private data (RLIMIT_DATA: the scanner reserves far more address space than it
    uses).
    """
    library = ctypes.CDLL(None, use_errno=True)
    _prctl(library, _PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(library, _PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    _prctl(library, _PR_SET_NO_NEW_PRIVS, 1)
    _filter(library)


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
    program = assemble(*known)
    buffer = ctypes.create_string_buffer(program)
    # struct sock_fprog: count, padding, pointer
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))
    if library.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(header), 0, 0) != 0:
        raise SandboxUnavailable(f"seccomp: {os.strerror(ctypes.get_errno())}")


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
        _instruction(_EQUAL, 0, 4, numbers["socket"]),
        _instruction(_LOAD, 0, 0, 16),
        _instruction(_EQUAL, 0, 1, _AF_UNIX),
        _instruction(_RETURN, 0, 0, _ALLOW),
        _instruction(_RETURN, 0, 0, deny),
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
