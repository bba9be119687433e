"""How pool and worker talk over a socket pair: a length, a JSON head, and perhaps the bytes or a file descriptor of the message."""

import json
import socket
import struct
from typing import Any

from relay.model.plain_json import json_text

LENGTH = struct.Struct(">IQ")
MAX_HEAD = 64 * 1024 * 1024  # an answer about a message with a thousand archives


def pack(head: dict[str, Any], body: bytes = b"") -> bytes:
    """Lengths, head, body."""
    encoded = json_text(head).encode()
    return LENGTH.pack(len(encoded), len(body)) + encoded + body


def receive(connection: socket.socket) -> tuple[dict[str, Any], bytes, int | None] | None:
    """Blocking, for the worker: head, body and a descriptor, if one came along. None at the end."""
    start, descriptors, _, _ = socket.recv_fds(connection, LENGTH.size, 1)
    if not start:
        return None
    start += _exactly(connection, LENGTH.size - len(start))
    head_size, body_size = LENGTH.unpack(start)
    head: dict[str, Any] = json.loads(_exactly(connection, head_size))
    return head, _exactly(connection, body_size), descriptors[0] if descriptors else None


def _exactly(connection: socket.socket, size: int) -> bytes:
    """Mostly in one piece, which is then given as it is."""
    pieces: list[bytes] = []
    while size:
        piece = connection.recv(size, socket.MSG_WAITALL)
        if not piece:
            raise EOFError
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
