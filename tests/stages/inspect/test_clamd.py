"""clamd: only a literal OK is clean; down, slow or garbled is unavailable; a limit is undecidable."""

import contextlib
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from relay.inspect.clamav import ClamdInspector
from relay.inspect.item import Item, Unavailable
from relay.model.finding import Finding, Kind
from tests.servers.clamd import EICAR, SIGNATURES, SUFFIX, TEST_SIGNATURE, Clamd, running_clamd


def item(data: bytes, path: str = "1") -> Item:
    return Item(path, "a.bin", "application/octet-stream", False, data)


def inspector(path: Path, deadline: float = 10, cache_entries: int = 100, cache_seconds: float = 3600) -> ClamdInspector:
    return ClamdInspector(path, 2, deadline, cache_entries, cache_seconds)


def test_eicar_and_our_own_signature_are_malware_by_name(clamd: Clamd) -> None:
    scanner = inspector(clamd.socket)
    assert list(scanner.inspect(item(EICAR, "1.2"))) == [Finding(Kind.MALWARE, "clamd", "Sluis.Eicar" + SUFFIX, "1.2")]
    assert list(scanner.inspect(item(b"x" * 300_000 + TEST_SIGNATURE))) == [Finding(Kind.MALWARE, "clamd", "Sluis.Test" + SUFFIX, "1")]


def test_what_clamd_calls_ok_is_clean(clamd: Clamd) -> None:
    scanner = inspector(clamd.socket)
    assert list(scanner.inspect(item(b"Beste Piet,\r\n"))) == []
    assert list(scanner.inspect(item(b""))) == []
    assert list(scanner.inspect(item(bytes(range(256)) * 20_000))) == []


def test_the_version_names_the_engine_and_the_generation_of_its_database(clamd: Clamd) -> None:
    assert inspector(clamd.socket).version().startswith("ClamAV ")
    assert "/1/" in inspector(clamd.socket).version()


def test_a_clamd_that_is_down_is_unavailable_and_looks_again_when_it_is_back() -> None:
    with running_clamd() as clamd:
        scanner = inspector(clamd.socket)
        assert not list(scanner.inspect(item(b"before")))
        clamd.kill()
        with pytest.raises(Unavailable):
            scanner.inspect(item(b"after"))
        clamd.start()
        assert not list(scanner.inspect(item(b"after")))


def test_a_socket_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        inspector(tmp_path / "none").version()


def test_a_clamd_that_hangs_is_unavailable_by_the_deadline() -> None:
    with running_clamd() as clamd:
        scanner = inspector(clamd.socket, deadline=30)
        assert not list(scanner.inspect(item(b"before")))
        clamd.suspend()
        with pytest.raises(Unavailable):
            inspector(clamd.socket, deadline=0.5).inspect(item(b"before"))
        scanner.begin()
        started = time.monotonic()
        scanner._socket.deadline = started + 0.5  # its own is for what must be answered, however busy the machine is
        with pytest.raises(Unavailable):
            scanner.inspect(item(b"x" * 5_000_000))
        assert time.monotonic() - started < 5
        clamd.resume()
        scanner.begin()
        assert not list(scanner.inspect(item(b"after")))


def test_more_than_clamd_takes_in_one_stream_is_undecidable() -> None:
    with running_clamd(StreamMaxLength="1M") as clamd:
        (found,) = inspector(clamd.socket).inspect(item(b"x" * 3_000_000))
        assert (found.kind, found.name) == (Kind.LIMIT, "limits-exceeded")


def test_a_scan_limit_of_clamd_is_undecidable_and_not_clean() -> None:
    with running_clamd(MaxFileSize="1M", MaxScanSize="1M") as clamd:
        (found,) = inspector(clamd.socket).inspect(item(b"x" * 3_000_000))
        assert (found.kind, found.name) == (Kind.LIMIT, "limits-exceeded")
        assert found.detail.startswith("Heuristics.Limits.Exceeded")


def test_the_same_bytes_are_scanned_once_while_the_database_is_the_same(clamd: Clamd) -> None:
    scanner = inspector(clamd.socket)
    assert [list(scanner.inspect(item(b"the same", path))) for path in ("1", "2", "3")] == [[], [], []]
    assert scanner.hits == 2
    list(scanner.inspect(item(b"other")))
    assert scanner.hits == 2


def test_malware_is_never_answered_from_the_cache(clamd: Clamd) -> None:
    scanner = inspector(clamd.socket)
    assert [len(list(scanner.inspect(item(EICAR)))) for _ in range(3)] == [1, 1, 1]
    assert scanner.hits == 0


def test_a_clean_verdict_expires(clamd: Clamd) -> None:
    scanner = inspector(clamd.socket, cache_seconds=1e-9)
    list(scanner.inspect(item(b"once")))
    list(scanner.inspect(item(b"once")))
    assert scanner.hits == 0


def test_the_cache_holds_no_more_than_its_entries(clamd: Clamd) -> None:
    scanner = inspector(clamd.socket, cache_entries=2)
    for data in (b"one", b"two", b"three", b"one"):
        list(scanner.inspect(item(data)))
    assert scanner.hits == 0
    list(scanner.inspect(item(b"three")))
    assert scanner.hits == 1


def test_a_new_database_finds_what_the_old_one_called_clean() -> None:
    with running_clamd() as clamd:
        scanner = inspector(clamd.socket)
        assert not list(scanner.inspect(item(b"TOMORROWS-MALWARE")))
        assert not list(scanner.inspect(item(b"TOMORROWS-MALWARE")))
        assert scanner.hits == 1
        clamd.reload({**SIGNATURES, "Sluis.Tomorrow": b"TOMORROWS-MALWARE"})
        scanner.begin()
        (found,) = scanner.inspect(item(b"TOMORROWS-MALWARE"))
        assert found.name == "Sluis.Tomorrow" + SUFFIX


def test_a_scanner_that_does_not_find_eicar_is_unavailable() -> None:
    with running_clamd() as clamd:
        clamd.reload({"Sluis.Test": TEST_SIGNATURE})
        scanner = inspector(clamd.socket)
        with pytest.raises(Unavailable, match="EICAR"):
            scanner.inspect(item(b"anything"))
        with pytest.raises(Unavailable, match="EICAR"):
            scanner.self_test()


def test_the_self_test_is_done_again_when_the_database_is_another() -> None:
    with running_clamd() as clamd:
        scanner = inspector(clamd.socket)
        assert not list(scanner.inspect(item(b"one")))
        clamd.reload({"Sluis.Test": TEST_SIGNATURE})
        scanner.begin()
        with pytest.raises(Unavailable, match="EICAR"):
            scanner.inspect(item(b"two"))


def test_one_connection_serves_many_messages_and_a_session_that_clamd_ended_is_begun_anew() -> None:
    with running_clamd() as clamd:
        scanner = inspector(clamd.socket)
        for number in range(5):
            scanner.begin()
            assert not list(scanner.inspect(item(b"message %d" % number)))
        session = scanner._socket.clamd_socket
        assert session is not None
        clamd.kill()
        clamd.start()
        scanner.begin()
        assert list(scanner.inspect(item(EICAR)))
        assert scanner._socket.clamd_socket is not session


def test_a_version_that_is_asked_for_ahead_is_of_the_message_that_came_and_not_of_an_earlier_one() -> None:
    with running_clamd() as clamd:
        scanner = inspector(clamd.socket)
        scanner.expect()  # there is no session yet
        assert "/1/" in scanner.version()
        scanner.begin()
        scanner.expect()
        clamd.reload({**SIGNATURES, "Sluis.Tomorrow": b"TOMORROWS-MALWARE"})
        scanner.begin()
        assert "/1/" in scanner.version(), "it was asked for before"
        scanner.expect()  # and no inspection takes it
        clamd.reload({**SIGNATURES, "Sluis.Tomorrow": b"TOMORROWS-MALWARE", "Sluis.Later": b"LATER-MALWARE"})
        scanner.expect()
        scanner.begin()
        assert "/3/" in scanner.version()


def test_another_command_than_that_which_was_asked_ahead_gets_its_own_answer(clamd: Clamd) -> None:
    scanner = inspector(clamd.socket)
    scanner.version()
    scanner.expect()
    assert scanner._socket.exchange(b"INSTREAM", b"data") == "stream: OK"
    assert scanner._socket.exchange(b"VERSION").startswith("ClamAV ")


def test_a_session_that_clamd_ended_is_begun_anew_where_a_version_was_asked_for_ahead() -> None:
    with running_clamd() as clamd:
        scanner = inspector(clamd.socket)
        assert not list(scanner.inspect(item(b"one")))
        for asked_before in (True, False):
            if asked_before:
                scanner.expect()
            clamd.kill()
            clamd.start()
            if not asked_before:
                scanner.expect()
            scanner.begin()
            assert list(scanner.inspect(item(EICAR)))


Answer = Callable[[socket.socket, bytes], None]


@contextlib.contextmanager
def imitation(verdict: Answer) -> Iterator[Path]:
    """Answers VERSION and the self-test as clamd would; every other stream as `verdict` does."""
    with tempfile.TemporaryDirectory(prefix="sluis-") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "s"
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=_serve, args=(listener, verdict))
        thread.start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _serve(listener: socket.socket, verdict: Answer) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError):
            connection.settimeout(10)
            _session(connection, stream, verdict)


def _session(connection: socket.socket, stream: IO[bytes], verdict: Answer) -> None:
    """Ends with the first verdict, as clamd may at any time."""
    assert _command(stream) == b"zIDSESSION\0"
    number = 0
    while command := _command(stream):
        number += 1
        connection.sendall(b"%d: " % number)
        if command == b"zVERSION\0":
            connection.sendall(b"ClamAV 1.4.3/27000/Mon Nov 23 2026\0")
            continue
        data = b""
        while size := struct.unpack(">I", stream.read(4))[0]:
            data += stream.read(size)
        if EICAR not in data:
            verdict(connection, data)
            return
        connection.sendall(b"stream: Eicar FOUND\0")


def _command(stream: IO[bytes]) -> bytes:
    command = b""
    while not command.endswith(b"\0") and (octet := stream.read(1)):
        command += octet
    return command


def says(answer: bytes) -> Answer:
    return lambda connection, _: connection.sendall(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0",
        b"OK\0",
        b"stream: OK",
        b"stream: ok\0",
        b" stream: OK\0",
        b"stream: OK\n\0",
        b"stream: OK\0\0",
        b"stream: OK\0stream: OK\0",
        b"stream: OK FOUND and more\0",
        b"stream: Can't allocate memory ERROR\0",
        b"stream:  FOUND\0",
        b"\xff\xfe\0",
        b"x" * 100_000 + b"\0",
        b"UNKNOWN COMMAND\0",
        b"stream: Two\nLines FOUND\0",
    ],
)
def test_any_other_answer_is_unavailable(answer: bytes) -> None:
    with imitation(says(answer)) as path:
        scanner = inspector(path, deadline=2)
        with pytest.raises(Unavailable):
            scanner.inspect(item(b"data"))


def test_a_literal_ok_is_clean_whatever_pieces_it_comes_in() -> None:
    def in_pieces(connection: socket.socket, _: bytes) -> None:
        for octet in b"stream: OK\0":
            connection.sendall(bytes([octet]))

    with imitation(in_pieces) as path:
        assert not list(inspector(path).inspect(item(b"data")))


def test_an_answer_that_drips_ends_at_the_deadline() -> None:
    ended = threading.Event()

    def drips(connection: socket.socket, _: bytes) -> None:
        while not ended.wait(0.1):
            connection.sendall(b"s")

    with imitation(drips) as path:
        started = time.monotonic()
        try:
            with pytest.raises(Unavailable):
                inspector(path, deadline=0.6).inspect(item(b"data"))
        finally:
            ended.set()
        assert time.monotonic() - started < 5


def test_the_deadline_is_for_all_items_of_a_message_together() -> None:
    def slowly(connection: socket.socket, _: bytes) -> None:
        time.sleep(0.1)
        connection.sendall(b"stream: OK\0")

    with imitation(slowly) as path:
        scanner = inspector(path, deadline=2)  # twenty times what one takes, and a fifth of what all take
        with pytest.raises(Unavailable):
            [list(scanner.inspect(item(b"part %d" % number))) for number in range(100)]
        scanner.begin()
        assert not list(scanner.inspect(item(b"part of the next message")))


def test_a_backlog_that_stays_full_is_unavailable_by_the_connect_time_out() -> None:
    with tempfile.TemporaryDirectory(prefix="sluis-") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "s"
        listener.bind(str(path))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path))
            with pytest.raises(Unavailable):
                ClamdInspector(path, 0.3, 10, 0, 0).version()


def test_encrypted_content_that_clamd_reports_is_of_the_encrypted_class() -> None:
    with imitation(says(b"stream: Heuristics.Encrypted.Zip FOUND\0")) as path:
        (found,) = inspector(path).inspect(item(b"data"))
        assert (found.kind, found.name) == (Kind.ENCRYPTED, "encrypted")


def test_control_characters_of_an_answer_never_reach_a_finding() -> None:
    with imitation(says(b"stream: Evil\x1b[2JName FOUND\0")) as path:
        (found,) = inspector(path).inspect(item(b"data"))
        assert found.kind is Kind.MALWARE
        assert found.name.isprintable()


def test_the_whole_item_is_sent_octet_by_octet() -> None:
    seen: list[bytes] = []

    def keeps(connection: socket.socket, data: bytes) -> None:
        seen.append(data)
        connection.sendall(b"stream: OK\0")

    data = bytes(range(256)) * 3000
    with imitation(keeps) as path:
        list(inspector(path).inspect(item(data)))
    assert seen == [data]
