"""The clamd configuration that ships: the real clamd starts with it, and calls nothing clean that it did not scan whole."""

import asyncio
import email
import grp
import io
import os
import pwd
import re
import shutil
import stat
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from relay.inspect.clamav import EICAR, ClamdInspector
from relay.inspect.item import Item
from relay.model.finding import Finding, Kind
from relay.settings.models import Clamd, Listener
from tests.servers.daemon import new_home, remove_home, running, until_line

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "clamav" / "clamd.conf"
UNITS = {"K": 1024, "M": 1024**2, "": 1}


def shipped() -> dict[str, str]:
    """The options of the file."""
    lines = (line for line in SHIPPED.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split(" ", 1) for line in lines)


def octets(size: str) -> int:
    """`100M` in octets."""
    return int(size.rstrip("KM")) * UNITS[size[-1] if size[-1] in UNITS else ""]


@asynccontextmanager
async def clamd() -> AsyncIterator[ClamdInspector]:
    """clamd with the shipped options; only its paths, group and user are those of the test, and its one signature is EICAR."""
    home = new_home("clamd")
    try:
        (home / "db").mkdir()
        (home / "db" / "test.ndb").write_text(f"Eicar-Test:0:0:{EICAR.hex()}\n")
        paths = {
            "LocalSocket": str(home / "run" / "clamd.ctl"),
            # clamd gives its socket to a group that its user is a member of
            "LocalSocketGroup": shipped()["User"] if os.getuid() == 0 else grp.getgrgid(os.getgid()).gr_name,
            "User": shipped()["User"] if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name,
            "DatabaseDirectory": str(home / "db"),
            "LogFile": str(home / "run" / "log"),
        }
        (home / "clamd.conf").write_text("".join(f"{name} {value}\n" for name, value in (shipped() | paths).items()))
        (home / "run").mkdir()
        if os.getuid() == 0:
            shutil.chown(home / "run", shipped()["User"])
        command = ["/usr/sbin/clamd", "--foreground=true", f"--config-file={home / 'clamd.conf'}"]
        async with running(command, home / "output"):
            await until_line(home / "output", r"Self checking every|ERROR")
            socket = home / "run" / "clamd.ctl"
            assert stat.S_IMODE(socket.stat().st_mode) == 0o660
            yield ClamdInspector(socket, 5, 60, 0, 1)
    finally:
        remove_home(home)


def verdict(inspector: ClamdInspector, data: bytes) -> list[tuple[Kind, str]]:
    """What clamd says of one item."""
    found: list[Finding] = list(inspector.inspect(Item("1", "file", "application/octet-stream", False, data)))
    return [(finding.kind, finding.name) for finding in found]


def encrypted_zip() -> bytes:
    """The attachment of the demonstration message."""
    message = email.message_from_bytes((ROOT / "relay" / "demo" / "messages" / "encrypted-zip.eml").read_bytes())
    [part] = [part for part in message.walk() if (part.get_filename() or "").endswith(".zip")]
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    return data


def nested_zip(depth: int, data: bytes) -> bytes:
    """A zip in a zip in a zip."""
    for level in range(depth):
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr(f"{level}.zip", data)
        data = target.getvalue()
    return data


def test_what_clamd_did_not_scan_whole_is_never_called_clean() -> None:
    async def story() -> None:
        async with clamd() as inspector:

            def verdicts() -> list[list[tuple[Kind, str]]]:
                too_deep = int(shipped()["MaxRecursion"]) + 3
                return [
                    verdict(inspector, data)
                    for data in (b"Beste Piet,\r\n", EICAR, nested_zip(3, EICAR), nested_zip(too_deep, EICAR), encrypted_zip())
                ]

            clean, malware, inside, limits, encrypted = await asyncio.to_thread(verdicts)
            assert clean == []
            assert malware == inside == [(Kind.MALWARE, "Eicar-Test.UNOFFICIAL")]
            assert limits == [(Kind.LIMIT, "limits-exceeded")]
            assert encrypted == [(Kind.ENCRYPTED, "encrypted")]

    asyncio.run(story())


def test_the_limits_fit_those_of_the_relay() -> None:
    options = shipped()
    assert octets(options["StreamMaxLength"]) > Listener.model_fields["message_size"].default
    assert octets(options["MaxFileSize"]) >= octets(options["StreamMaxLength"])
    assert int(options["MaxScanTime"]) / 1000 < Clamd().deadline


def test_clamd_is_asked_over_a_unix_socket_by_one_group_only() -> None:
    options = shipped()
    assert not any(re.match("TCP", name) for name in options)
    assert (options["LocalSocketGroup"], options["LocalSocketMode"]) == ("sluis", "660")
