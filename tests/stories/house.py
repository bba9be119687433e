"""A whole Sluis for a story: `sluis serve` in a process of its own over a given database, with its policy as texts, and the commands.

async with house(tmp_path, database, outside=sink.port) as sluis:
    reply = await sluis.send(message(), to=["clerk@court.example"])
    await sluis.until_states(reply, "delivered")
"""

import asyncio
import atexit
import base64
import functools
import json
import os
import shutil
import signal
import smtplib
import ssl
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from relay.demo.stage import Relay
from relay.model.delivery import State
from relay.settings.models import Store
from relay.sign.new_key import new_key
from relay.store.engine import open_engine
from relay.store.search import Search, find
from relay.store.spool.keys import new_keypair
from relay.store.states import Balance, balance
from tests.servers import warm
from tests.servers.daemon import POLL_SECONDS, as_root
from tests.servers.processes import children, command_line

SECONDS = 90.0
"""For whatever is waited for: it costs time where a test fails, and only there."""
CLIENT_SECONDS = 150.0
"""That a client waits for a reply: what the kernel gave to a process that dies waits there until that one has started again."""
OURS = "prosecution.example"
SENDER = f"s.devries@{OURS}"
CLERK = "clerk@court.example"

ORGANISATION = """\
name: A prosecution service
domains: [prosecution.example]
authserv_id: relay.prosecution.example
postmaster: postmaster@prosecution.example
phases: [open, closed, wide]
partners:
  - {name: court, domains: [court.example]}
"""
CLIENTS = """\
clients:
  - name: mailserver
    side: inside
    addresses: [127.0.0.1/32]
    require_tls: false
    may_send_as: [prosecution.example]
    may_send_to: ["*"]
  - name: world
    side: outside
    addresses: [127.0.0.0/8]
    require_tls: false
    may_send_as: ["*"]
    may_send_to: [prosecution.example]
"""
ROUTES = """\
routes:
  - {name: inside, to: [prosecution.example], smart_host: "127.0.0.1:@INSIDE@", tls: none}
  - {name: outside, to: ["*"], smart_host: "127.0.0.1:@OUTSIDE@", tls: none}
"""
RECIPIENTS = """\
recipients:
  - {domains: [prosecution.example], check: probe, route: inside}
"""
SIGNING = """\
signing:
  - domain: prosecution.example
    keys: [{selector: rsa, algorithm: rsa-sha256}, {selector: ed, algorithm: ed25519-sha256}]
"""
PASS = """\
rules:
  - {name: pass, then: deliver, because: ordinary mail}
"""
POLICY = {
    "organisation.yaml": ORGANISATION,
    "clients.yaml": CLIENTS,
    "routes.yaml": ROUTES,
    "recipients.yaml": RECIPIENTS,
    "signing.yaml": SIGNING,
    "rules/pass.yaml": PASS,
}


def message(subject: str = "Hearing", body: str = "Dear clerk,\r\n\r\nThe hearing needs a room.\r\n", **fields: str) -> bytes:
    """A plain message with CRLF line ends; `fields` replace header fields, `_` in a name stands for `-`, an empty value leaves it out."""
    header = {
        "From": f"Sanne de Vries <{SENDER}>",
        "To": CLERK,
        "Subject": subject,
        "Message-ID": f"<{uuid.uuid4().hex}@{OURS}>",
        "Date": "Tue, 24 Nov 2026 09:00:00 +0100",
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }
    return ("".join(f"{name}: {value}\r\n" for name, value in header.items() if value) + "\r\n" + body).encode()


def with_attachment(name: str, data: bytes, kind: str = "application/octet-stream", **fields: str) -> bytes:
    """A message with one attachment."""
    encoded = base64.encodebytes(data).decode().replace("\n", "\r\n")
    body = (
        "--b\r\nContent-Type: text/plain\r\n\r\nSee the attachment.\r\n"
        f'--b\r\nContent-Type: {kind}; name="{name}"\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\n{encoded}--b--\r\n"
    )
    return message("With an attachment", body, MIME_Version="1.0", Content_Type='multipart/mixed; boundary="b"', **fields)


@dataclass(frozen=True)
class Reply:
    """What the client heard; `id` is the message's where it was accepted or refused after DATA."""

    code: int
    text: str

    @property
    def id(self) -> uuid.UUID:
        """From `queued as ID COMMITMENT`, or from the end of a refusal."""
        words = self.text.split()
        return uuid.UUID(words[words.index("as") + 1] if "as" in words else words[-1])

    @property
    def commitment(self) -> str:
        """The last word of a 250."""
        return self.text.split()[-1]


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed with --json."""
        assert self.code == 0, f"exit {self.code}: {self.err}{self.out}"
        return json.loads(self.out)


class WarmRelay(Relay):
    """The same, forked from a process that has loaded the program, where tests have switched that on."""

    async def _launch(self, words: list[str], module: str) -> asyncio.subprocess.Process:
        return await warm.start(words, module)


class House:
    """One installation. `config` is its settings file; `relay` its process."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        self.config = folder / "sluis.toml"
        self.policies = folder / "policies"
        self.relays: list[Relay] = []
        self.socket = Path(tempfile.mkdtemp(prefix="sluis-")) / "control.sock"  # a short path: that of a unix socket ends at 107 octets
        self.socket.parent.chmod(0o755)
        self._engine: Engine = open_engine(store)

    def write_policy(self, files: Mapping[str, str]) -> None:
        """Replaces the files that are given; an empty text removes one. In force at the next start or reload."""
        for name, text in files.items():
            path = self.policies / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text:
                path.write_text(text)
            else:
                path.unlink(missing_ok=True)

    def change_settings(self, old: str, new: str) -> None:
        """Replaces what stands in the settings file; in force at the next start."""
        text = self.config.read_text()
        assert old in text, text
        self.config.write_text(text.replace(old, new))

    async def start(self, *words: str, module: str = "relay") -> None:
        """Starts a relay, again after a stop, or one more with a role of its own (`--role`, `listen`). `module` is the program."""
        self.relays.append(WarmRelay(self.config, *words, module=module))
        await self.relay.start()

    @property
    def relay(self) -> Relay:
        """The one that was started last."""
        return self.relays[-1]

    async def stop(self) -> int:
        """SIGTERM to all that run; gives the highest exit code."""
        running = [relay for relay in self.relays if relay._process is not None and relay._process.returncode is None]
        return max(await asyncio.gather(*(relay.stop() for relay in running)), default=0)

    async def kill(self) -> None:
        """SIGKILL to the one that was started last."""
        process = self.relay._process
        assert process is not None
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def reload(self, says: str = '"reloaded"') -> None:
        """SIGHUP; returns when the log says that it was done."""
        before = self.log().count(says)
        os.kill(self.pid, signal.SIGHUP)
        await until(lambda: self.log().count(says) > before, f"a reload ({says})")

    @property
    def pid(self) -> int:
        """Of the relay."""
        process = self.relay._process
        assert process is not None
        return process.pid

    def port(self, listener: str = "inside") -> int:
        """Where a listener is."""
        return next(relay.ports[listener] for relay in reversed(self.relays) if listener in relay.ports)

    def log(self) -> str:
        """All that the relay logged."""
        return (self.folder / "sluis.log").read_text()

    async def send(
        self,
        raw: bytes,
        *,
        to: Sequence[str] = (CLERK,),
        sender: str = SENDER,
        listener: str = "inside",
        options: Sequence[str] = (),
        source: str = "127.0.0.1",
    ) -> Reply:
        """One transaction; the first refusal ends it, as a careful client would. Recipients may carry parameters after a space."""
        return await asyncio.to_thread(self._send, raw, to, sender, listener, options, source)

    async def until_taken(self, raw: bytes) -> Reply:
        """Sends it until it is not deferred any more, as a client would."""
        async with asyncio.timeout(SECONDS):
            while (reply := await self.send(raw)).code == 451:
                await asyncio.sleep(POLL_SECONDS)
        return reply

    def _send(self, raw: bytes, to: Sequence[str], sender: str, listener: str, options: Sequence[str], source: str) -> Reply:
        with smtplib.SMTP("127.0.0.1", self.port(listener), f"mail.{OURS}", CLIENT_SECONDS, (source, 0)) as client:
            client.ehlo()
            client.command_encoding = "utf-8"
            code, text = client.mail(sender, list(options))
            for recipient in to:
                if code < 400:
                    address, *parameters = recipient.split(" ")
                    code, text = client.rcpt(address, parameters)
            if code < 400:
                code, text = client.data(raw)
        return Reply(code, text.decode())

    async def ask_as_nobody(self, operation: str, **params: Any) -> dict[str, Any]:
        """An operation over the control socket, asked by the unix user `nobody`: a second person. Gives `ok` or `error`."""
        script = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.argv[2].encode() + b'\\n');"
            "print(s.makefile().readline())"
        )
        line = json.dumps({"operation": operation, "params": params})
        drop = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        command = as_root([*drop, "/usr/bin/python3", "-c", script, self.socket, line])
        # What is loaded into every program of a story (libfaketime) shares with what root has loaded, and nobody may not.
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]})
        out, _ = await process.communicate()
        answer: dict[str, Any] = json.loads(out)
        return answer

    async def sluis(self, *words: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> Said:
        """A `sluis` command on this installation, by the user who runs the test."""
        own = {**os.environ, "SLUIS_CONFIG": str(self.config), **(environment or {})}
        code, out, err = await warm.run(words, stdin.encode(), own)
        return Said(code, out.decode(), err.decode())

    def rows(self, identity: uuid.UUID | None = None) -> list[Any]:
        """The deliveries of one message, in their order, or of all; columns of the message begin with `m_`."""
        search = Search(ids=((identity, None),) if identity else ())
        with self._engine.connect() as connection:
            return list(find(connection, search, None, 1000))

    def states(self, identity: uuid.UUID) -> list[str]:
        """The states of the recipients of a message."""
        return [row.state for row in self.rows(identity)]

    async def until_states(self, reply: "Reply | uuid.UUID", *expected: str) -> list[Any]:
        """Waits until the recipients are in these states; gives the rows."""
        identity = reply if isinstance(reply, uuid.UUID) else reply.id
        for state in expected:
            State(state)
        await until(
            lambda: self.states(identity) == list(expected), lambda: f"{expected}, it is {self.states(identity)}\n{self.log()[-3000:]}"
        )
        return self.rows(identity)

    def balance(self) -> Balance:
        """Promise 14."""
        with self._engine.connect() as connection:
            return balance(connection)

    async def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The events of these kinds, oldest first."""
        words = [word for kind in kinds for word in ("--kind", kind)]
        listed = (await self.sluis("audit", "list", *words, "--limit", "10000", "--reason", "a test", "--json")).json
        return [entry["record"] for entry in listed]

    def close(self) -> None:
        """Lets the database go."""
        self._engine.dispose()
        shutil.rmtree(self.socket.parent, ignore_errors=True)


def parts(pid: int) -> dict[str, int]:
    """The processes that a parent has started: name to process id."""
    found: dict[str, int] = {}
    for child in children(pid):
        words = command_line(child)
        if "--part" in words:
            found[words[words.index("--part") + 1].split('"')[3]] = child
    return found


async def until(condition: Any, what: Any, seconds: float = SECONDS, every: float = POLL_SECONDS) -> None:
    """Waits until `condition()` holds; nothing announces a change in another process. `what` says what was waited for, `every` the seconds
    between two looks: more for one that is dear."""
    try:
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(every)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what() if callable(what) else what}") from None


@asynccontextmanager
async def house(
    folder: Path,
    store: Store,
    *,
    outside: int = 9,
    inside: int = 9,
    policy: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    listeners: Sequence[Mapping[str, Any]] = (),
    started: bool = True,
    module: str = "relay",
) -> AsyncIterator[House]:
    """`outside` and `inside` are the ports of the next hops. `policy` replaces or adds files (`@OUTSIDE@` and `@INSIDE@` are put in),
    `settings` keys of sluis.toml, table by table, `listeners` come beside `inside` and `outside`, `module` is the program. At the end the
    balance must hold, and no bug may be in the log."""
    home = folder / "house"
    home.mkdir()
    installation = House(home, store)
    ports = {"@OUTSIDE@": str(outside), "@INSIDE@": str(inside), "@HOME@": str(home)}
    files = {**POLICY, **(policy or {})}
    for mark, value in ports.items():
        files = {name: text.replace(mark, value) for name, text in files.items()}
    installation.write_policy(files)
    installation.config.write_text(_toml(_settings(store, installation.socket, settings or {}, listeners)))
    new_keypair(home / "keys" / "spool.pub", home / "keys" / "spool")
    shutil.copytree(_dkim_keys(), home / "keys" / "dkim")
    (home / "secrets").mkdir(mode=0o700)
    try:
        if started:
            await installation.start(module=module)
        try:
            yield installation
        finally:
            assert await installation.stop() == 0, installation.log()[-3000:]
        log = installation.log() if (home / "sluis.log").exists() else ""
        assert '"traceback"' not in log, log[-4000:]
        held = installation.balance()
        assert held.holds, held
    finally:
        installation.close()


@functools.cache
def _dkim_keys() -> Path:
    """Made once for all houses of this process: a new RSA key costs more than many a story."""
    folder = Path(tempfile.mkdtemp(prefix="sluis-dkim-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for selector, algorithm in (("rsa", "rsa-sha256"), ("ed", "ed25519-sha256")):
        new_key(folder, OURS, selector, algorithm, 2048)
    return folder


def _settings(store: Store, socket: Path, changes: Mapping[str, Any], listeners: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    base: dict[str, Any] = {
        "hostname": f"relay.{OURS}",
        "policies": "policies",
        "secrets": "secrets",
        "dkim_keys": "keys/dkim",
        "store": {"url": store.url},
        "spool": {"folder": "spool", "public_key": "keys/spool.pub", "private_keys": "keys/spool", "full_percent": 99.5, "reserve": 1024},
        "inspection": {"workers": 1},
        "delivery": {"poll": 0.05, "schedule": [0.2, 0.2, 1], "connect_timeout": 5, "command_timeout": 60, "data_timeout": 60},
        "control": {"socket": str(socket), "review_group": "nogroup", "admin_group": "nogroup"},
        "policy": {"source": "folder"},  # what a story writes is in force at the next start or reload
        "http": {"address": "127.0.0.1:0"},
        "listeners": [
            {"name": "inside", "side": "inside", "addresses": ["127.0.0.1:0"], "require_tls": False},
            {"name": "outside", "side": "outside", "addresses": ["127.0.0.1:0"], "require_tls": False},
            *listeners,
        ],
    }
    for key, value in changes.items():
        base[key] = {**base[key], **value} if isinstance(value, Mapping) and key in base else value
    return base


def _toml(values: Mapping[str, Any]) -> str:
    """Scalars and inline tables: JSON's strings, numbers and lists are TOML's, but its objects are not."""
    return "".join(f"{key} = {_value(value)}\n" for key, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value)


def trusting(authority: Path) -> ssl.SSLContext:
    """A client's TLS context that trusts one throw-away CA."""
    return ssl.create_default_context(cafile=str(authority))
