"""The clients, in a process of their own: `python -m bench.memory.load KIND PORT COUNT [MORE]`. It prints one JSON line when what it is for
has come about, and ends when its standard input does.

    idle PORT COUNT plain|starttls|tls    connections that have said EHLO, and then nothing
    big PORT COUNT OCTETS [hostile]       one message of this size in each connection, all at a time; the line says what they heard. Hostile
                                          ones are those of HOSTILE in turn
    drip PORT COUNT                       a message in each connection, one octet a second
    deaf PORT COUNT                       commands without end, and no reply is read
    greetings PORT COUNT                  connects, and says what was heard first
"""

import base64
import itertools
import json
import os
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

SECONDS = 300.0
SENDER, RECIPIENT = "s.devries@prosecution.example", "clerk@court.example"


def main() -> None:
    kind, port, count, more = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    scenes: dict[str, Callable[..., tuple[Any, Any]]] = {"idle": idle, "big": big, "drip": drip, "deaf": deaf, "greetings": greetings}
    kept, said = scenes[kind](port, count, *more)
    print(json.dumps(said), flush=True)
    sys.stdin.read()
    del kept


def connected(port: int, tls: str = "plain") -> tuple[socket.socket, str]:
    """A connection with its EHLO answered, and the last line that was heard; a refusal is left as it is."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection: Any = plain
    if tls == "tls":
        connection = _wrapped(plain)
    heard = reply(connection)
    if heard.startswith("220"):
        heard = ask(connection, "EHLO mail.prosecution.example")
        if tls == "starttls":
            ask(connection, "STARTTLS")
            connection = _wrapped(plain)
            heard = ask(connection, "EHLO mail.prosecution.example")
    return connection, heard


def _wrapped(connection: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)


def ask(connection: socket.socket, command: str) -> str:
    """The last line of the answer."""
    connection.sendall(command.encode() + b"\r\n")
    return reply(connection)


def reply(connection: socket.socket) -> str:
    """The last line of one reply; empty where the server has closed."""
    text = b""
    while not text.endswith(b"\r\n") or text.rpartition(b"\r\n")[0].rpartition(b"\r\n")[2][3:4] == b"-":
        piece = connection.recv(4096)
        if not piece:
            break
        text += piece
    return text.decode().strip().rpartition("\r\n")[2]


def idle(port: int, count: int, tls: str) -> tuple[Any, Any]:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: connected(port, tls), range(count)))
    return made, Counter(heard[:3] for _, heard in made)


def greetings(port: int, count: int) -> tuple[Any, Any]:
    kept = [socket.create_connection(("127.0.0.1", port), timeout=SECONDS) for _ in range(count)]
    return kept, Counter(reply(connection)[:3] for connection in kept)


def big(port: int, count: int, octets: str, kind: str = "") -> tuple[Any, Any]:
    """Each sends its own bytes, so that no answer about one serves for another."""
    heard: list[str] = []
    made = _hostile if kind == "hostile" else _message

    def send(number: int) -> None:
        connection, _ = connected(port)
        start(connection)
        for piece in made(int(octets), number):
            connection.sendall(piece)
        heard.append(ask(connection, "\r\n."))

    begun = time.monotonic()
    threads = [threading.Thread(target=send, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return None, {
        "seconds": round(time.monotonic() - begun, 2),
        "heard": Counter(text[:3] for text in heard),
        "texts": sorted(set(heard))[:3],
    }


def _header(number: int) -> str:
    header = f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nSubject: {number}\r\nMessage-ID: <{number}.{os.getpid()}@prosecution.example>\r\n"
    return header + "Date: Tue, 24 Nov 2026 09:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"


HOSTILE = {
    "line ends": "\r\n",  # in a part that is never closed, so that the lenient readers and the salvage look at all of it
    "parts": "--b\r\n\r\n",
    "nested parts": 'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n',
    "nested messages": "Content-Type: message/rfc822\r\n\r\n",
    "uuencoded": "begin 644 a\r\nend\r\n",
    "soft line ends": "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
    "unclosed": "",
}
"""What a reader needs much memory for, again and again up to the size."""


def _hostile(octets: int, number: int) -> Any:
    """One kind after the other."""
    kind = list(HOSTILE)[number % len(HOSTILE)]
    again = HOSTILE[kind]
    yield (_header(number) + "--b\r\n").encode()
    if kind == "unclosed":
        yield from itertools.islice(_message(octets, number), 1, octets // 78_000)
    elif kind == "soft line ends":
        yield again.encode()
        yield from (b"=\r\n" * 30_000 for _ in range(octets // 90_000))
    elif "%" in again:
        yield from (again.replace("%d", str(depth)).encode() for depth in range(octets // 60))
    else:
        yield (b"" if again.startswith(("--b", "Content")) else b"\r\n")
        many = 100_000 // len(again)
        yield from (again.encode() * many for _ in range(octets // (many * len(again))))
    yield b"\r\n"


def _message(octets: int, number: int) -> Any:
    """A text and one attachment in base64, of about so many octets, in pieces."""
    header = _header(number)
    part = "--b\r\nContent-Type: text/plain\r\n\r\nSee the attachment.\r\n--b\r\nContent-Type: application/octet-stream; name=a.bin\r\n"
    part += "Content-Disposition: attachment; filename=a.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    yield (header + part).encode()
    lines = base64.encodebytes(os.urandom(57 * 1000)).replace(b"\n", b"\r\n")  # 78 octets a line
    yield from (lines for _ in range(octets // len(lines)))
    yield lines[: 78 * (octets % len(lines) // 78)] + b"--b--"


def start(connection: socket.socket) -> None:
    """MAIL, RCPT, DATA."""
    for command, code in ((f"MAIL FROM:<{SENDER}>", "250"), (f"RCPT TO:<{RECIPIENT}>", "250"), ("DATA", "354")):
        answer = ask(connection, command)
        if not answer.startswith(code):
            raise SystemExit(f"{command}: {answer}")


def drip(port: int, count: int) -> tuple[Any, Any]:
    """Begins with an octet for each, then goes on beside whoever waits for the end."""
    made = [connection for connection, _ in idle(port, count, "plain")[0]]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, made))

    def go_on() -> None:
        while True:
            for connection in made:
                connection.sendall(b"a")
            time.sleep(1)

    threading.Thread(target=go_on, daemon=True).start()
    return made, {"354": count}


def deaf(port: int, count: int) -> tuple[Any, Any]:
    """As much as the server takes before it stops reading, from each."""
    made = []
    for connection, _ in idle(port, count, "plain")[0]:
        connection.setblocking(False)
        made.append(connection)
    quiet, sent = 0, 0
    while quiet < 3:
        taken = 0
        for connection in made:
            try:
                taken += connection.send(b"HELP\r\n" * 10_000)
            except (BlockingIOError, ConnectionError):
                continue
        sent, quiet = sent + taken, 0 if taken else quiet + 1
        time.sleep(0.2)
    return made, {"octets": sent}


if __name__ == "__main__":
    main()
