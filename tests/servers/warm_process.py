"""The process that the relays and commands of the tests are forked from, from inside: it has loaded the program, and runs none of it.

What a fork then does is what `python -m MODULE WORDS` does: its own command line, environment, folder and descriptors, its own end.
"""

import gc
import importlib
import json
import os
import runpy
import selectors
import socket
import sys
import time
from typing import Any

MODULES = ("relay.cli.serve", "relay.cli.queue", "relay.cli.audit", "relay.cli.quarantine", "relay.cli.message", "relay.cli.policy")
"""What is called most; whatever else a command needs, it loads itself."""
DESCRIPTORS = 4
"""Of each request: where the answers go, and the three that a process begins with."""
REQUEST_BYTES = 2**17


def main() -> None:
    """Ends with its socket; what it has started goes on, as it does for a shell that ends."""
    gc.disable()
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()
    gc.enable()
    requested = _serve(socket.socket(fileno=int(sys.argv[1])))
    if requested is not None:
        module, words = requested
        sys.argv = [module, *words]
        sys.orig_argv = [sys.executable, "-m", *sys.argv]  # a relay of several processes starts others by it
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _serve(control: socket.socket) -> tuple[str, list[str]] | None:
    """Comes back with None in this process, at its end, and in each fork with the module and the words that it is to run."""
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    children: dict[int, tuple[int, socket.socket]] = {}  # a descriptor of the process: its id, and who asked for it
    while True:
        for key, _ in selector.select():
            if key.fileobj is control:
                request, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, DESCRIPTORS)
                if not request:
                    return None
                asker = socket.socket(fileno=descriptors[0])
                pid = os.fork()
                if not pid:
                    for theirs, (_, other) in children.items():
                        os.close(theirs)
                        other.close()
                    for mine in (selector, control, asker):
                        mine.close()
                    return _become(json.loads(request), descriptors[1:])
                for descriptor in descriptors[1:]:
                    os.close(descriptor)
                asker.sendall(f"{pid}\n".encode())
                found = os.pidfd_open(pid)
                children[found] = (pid, asker)
                selector.register(found, selectors.EVENT_READ)
            else:
                selector.unregister(key.fd)
                pid, asker = children.pop(key.fd)
                _, status = os.waitpid(pid, 0)
                os.close(key.fd)
                _tell(asker, os.waitstatus_to_exitcode(status))


def _tell(asker: socket.socket, code: int) -> None:
    with asker:
        try:
            asker.sendall(f"{code}\n".encode())
        except BrokenPipeError:
            return  # nobody waits for it any more


def _become(request: dict[str, Any], standard: list[int]) -> tuple[str, list[str]]:
    """Environment, folder and descriptors of the request; gives the module and its words."""
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    return request["module"], request["words"]


if __name__ == "__main__":
    main()
