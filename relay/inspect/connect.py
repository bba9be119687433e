"""A connection to a unix socket that ends in time."""

import socket
import struct
from pathlib import Path


def connect(path: Path, timeout: float) -> socket.socket:
    """Blocks for at most `timeout` seconds. Raises OSError.

    connect(2) of a unix socket waits for room in the backlog as long as SO_SNDTIMEO says; a non-blocking one fails at once (unix(7)).
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        timeval = struct.pack("@ll", int(timeout), int(timeout % 1 * 1_000_000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection
