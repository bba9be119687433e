"""An installation as docs/deploying.md makes it, but in folders that take the places of /etc/sluis, /var/lib/sluis and /run/sluis; what
runs in it does so under its unit, as far as confine.py goes."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.deploy.confine import Plan
from tests.deploy.unit import FOLDER, lines, system_calls, value
from tests.servers.daemon import as_root, new_home, remove_home, running
from tests.servers.ports import promised

ROOT = Path(__file__).parents[2]
# Ids of nobody on Debian (60000 to 64999 are given out by Debian's policy for packages that need a fixed one).
USERS = {"sluis": 64_525, "sluis-listen": 64_526, "sluis-deliver": 64_527}
GROUP = 64_525
RECIPIENT = "jan@example.org"
SLUIS = f"{sys.prefix}/bin/sluis"


class Installation:
    """`home` stands for the root of the machine: `etc`, `state` and `run` are folders of the relay in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.etc = home / "etc" / "sluis"
        self.state = home / "var" / "lib" / "sluis"
        self.run_folder = home / "run" / "sluis"
        self.notify = home / "run" / "systemd"
        passwd = [f"{name}:x:{uid}:{GROUP}::/:/bin/false\n" for name, uid in USERS.items()]
        self.names = {"passwd": passwd, "group": [f"sluis:x:{GROUP}:\n"]}

    def own(self, path: Path, user: str, mode: str) -> None:
        """chown and chmod; `user` may be root."""
        subprocess.run(as_root(["chown", f"{USERS.get(user, 0)}:{GROUP}", path]), check=True)
        subprocess.run(as_root(["chmod", mode, path]), check=True)

    def plan(self, unit: str, command: Sequence[str]) -> Plan:
        """What the unit says, for confine.py."""
        options = dict(lines(unit))
        # Rules that the plan has no other way to say; without one of them it would be another unit that is tested.
        for name in ("ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictNamespaces", "NoNewPrivileges"):
            assert options[name] == "yes"
        assert (options["ProtectSystem"], options["ProcSubset"], options["ProtectProc"]) == ("strict", "pid", "invisible")
        writable = [f"/var/lib/{options['StateDirectory']}"] if "StateDirectory" in options else []
        writable += [place.lstrip("-") for place in options.get("ReadWritePaths", "").split()]
        folders = {f"/etc/{options['ConfigurationDirectory']}": self.etc, "/var/lib/sluis": self.state, "/run/systemd": self.notify}
        folders |= {place: self.home / place.lstrip("/") for place in writable}
        if "RuntimeDirectory" in options:
            writable.append(f"/run/{options['RuntimeDirectory']}")
            folders[writable[-1]] = self.run_folder
        limits = {f"RLIMIT_{name.removeprefix('Limit')}": int(number) for name, number in options.items() if name.startswith("Limit")}
        places = {str(Path(place).resolve()) for place in (sys.base_prefix, sys.prefix, ROOT)} | {sys.prefix, str(ROOT)}
        return Plan(
            root=str(self.home / "root"),
            readable=sorted(place for place in places if not place.startswith("/usr/") and place != "/usr"),
            folders={place: str(folder) for place, folder in folders.items()},
            writable=writable,
            hidden=[place.lstrip("-") for place in options.get("InaccessiblePaths", "").split()],
            names=self.names,
            uid=USERS[options["User"]],
            gid=GROUP,
            capabilities=[name.removeprefix("CAP_").lower() for name in options["CapabilityBoundingSet"].split()],
            umask=int(options["UMask"], 8),
            limits=limits,
            calls=sorted(system_calls(unit)),
            families=options["RestrictAddressFamilies"].split(),
            memory_deny_write_execute=options["MemoryDenyWriteExecute"] == "yes",
            command=list(command),
            environment=self._environment(unit),
        )

    def _environment(self, unit: str) -> dict[str, str]:
        """The unit's own, and what the interpreter needs here."""
        found = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        given = [text for name, text in lines(unit) if name == "Environment"]
        file = self.home / value(unit, "EnvironmentFile").lstrip("-/")
        given += file.read_text().splitlines() if file.is_file() else []
        return found | dict(text.split("=", 1) for text in given)

    def run(self, unit: str, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """A command under a unit, to its end."""
        return subprocess.run(confined(self.plan(unit, command)), capture_output=True, text=True, check=False)

    async def done(self, unit: str, command: Sequence[str]) -> str:
        """A command under a unit that succeeds; what it printed."""
        done = await asyncio.to_thread(self.run, unit, command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async def start(self, unit: str) -> str:
        """ExecStart of a oneshot unit."""
        return await self.done(unit, [SLUIS, *value(unit, "ExecStart").split()[1:]])

    @asynccontextmanager
    async def serving(self, unit: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """ExecStart of a service, from when it has told systemd that it is ready. `environment` is what a drop-in would add."""
        plan = self.plan(unit, [SLUIS, *value(unit, "ExecStart").split()[1:]])
        plan["environment"] |= environment | {"NOTIFY_SOCKET": f"/run/systemd/{unit}"}
        output = self.output(unit)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.setblocking(False)
            (self.notify / unit).unlink(missing_ok=True)  # of an earlier start
            notified.bind(str(self.notify / unit))
            (self.notify / unit).chmod(0o777)
            async with running(confined(plan), output) as process:
                told = asyncio.create_task(asyncio.get_running_loop().sock_recv(notified, 100))
                ended = asyncio.create_task(process.wait())
                await asyncio.wait((told, ended), timeout=60, return_when=asyncio.FIRST_COMPLETED)
                assert told.done(), output.read_text()
                assert told.result() == b"READY=1"
                ended.cancel()
                yield process

    def output(self, unit: str) -> Path:
        """What a service wrote."""
        return self.home / f"{unit}.log"

    async def reload(self, unit: str, pid: int) -> None:
        """ExecReload."""
        assert value(unit, "ExecReload") == "/bin/kill -HUP $MAINPID"
        subprocess.run(as_root(["kill", "-HUP", str(pid)]), check=True)
        async with asyncio.timeout(20):
            while "reloaded" not in self.output(unit).read_text():
                await asyncio.sleep(0.02)


@contextmanager
def installation(sink_port: int, port: int) -> Iterator[Installation]:
    """The starter configuration, made to fit: outside on `port`, mail for the inside to the sink. The state is that of one service."""
    home = new_home("unit")
    made = Installation(home)
    try:
        for folder in (home / "root", made.etc.parent, made.state, made.run_folder, made.notify):
            folder.mkdir(parents=True)
        for name, text in made.names.items():
            (home / "etc" / name).write_text("".join(["root:x:0:0::/root:/bin/sh\n" if name == "passwd" else "root:x:0:\n", *text]))
        command: list[str | Path] = [SLUIS, "init", made.etc, "--hostname", "relay.example.org"]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        shutil.copy(ROOT / "deploy" / "openssl.cnf", made.etc)
        changes = {
            str(made.etc): "/etc/sluis",
            '"127.0.0.1:2525", "[::1]:2525"': '"127.0.0.1:0"',
            '"127.0.0.1:2526", "[::1]:2526"': f'"127.0.0.1:{port}"',
            '"127.0.0.1:9125"': '"127.0.0.1:0"',
        }
        change(made.etc / "sluis.toml", changes)
        smart_host = f"smart_host: 127.0.0.1:{sink_port}\n    tls: none"
        change(made.etc / "policies" / "routes.yaml", {"smart_host: mail.example.org:25\n    tls: verified": smart_host})
        # The first phase is the one in force at the start.
        change(made.etc / "policies" / "organisation.yaml", {"[closed, partners, open]": "[open, closed, partners]"})
        made.own(made.state, "sluis", "0700")
        made.own(made.run_folder, "sluis", "0755")
        made.own(made.etc / "secrets", "root", "0750")
        yield made
    finally:
        remove_home(home)


def make_folders_of_two(made: Installation) -> None:
    """What `systemd-tmpfiles --create` makes of the shipped file."""
    subprocess.run(as_root(["systemd-tmpfiles", f"--root={made.home}", "--create", FOLDER / "sluis.tmpfiles.conf"]), check=True)
    made.own(made.run_folder, "sluis-deliver", "0755")


def change(path: Path, changes: dict[str, str]) -> None:
    """Replaces what stands there exactly."""
    text = path.read_text()
    for old, new in changes.items():
        assert old in text, f"{path}: {old}"
        text = text.replace(old, new)
    path.write_text(text)


def privileged_port() -> int:
    """A free port below 1024, which only CAP_NET_BIND_SERVICE can bind."""
    taken = {int(line.split()[1].split(":")[1], 16) for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
    return promised(port for port in range(1023 - os.getpid() % 300, 512, -1) if port not in taken)


def confined(plan: Plan) -> list[str]:
    """The command that carries a plan out."""
    return as_root([sys.executable, "-P", ROOT / "tests" / "deploy" / "confine.py", "enter", json.dumps(plan)])


def processes(pid: int) -> list[dict[str, str]]:
    """/proc/PID/status of a relay and of its workers, the relay first."""
    every = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # a process that ended meanwhile
            words = (folder / "cmdline").read_bytes().split(b"\0")
            every[folder.name] = dict(re.findall(r"(?m)^(\w+):\s*(.*)$", (folder / "status").read_text())) | {"words": str(words)}
    below = {str(pid)}
    while more := {number for number, status in every.items() if status["PPid"] in below} - below:
        below |= more
    found = [every[number] for number in sorted(below, key=int)]
    return [
        status for status in found if re.search(r"bin/sluis', b'serve|inspect_worker", status["words"]) and "sudo" not in status["words"]
    ]


def send(port: int, body: bytes, tls: ssl.SSLContext | None = None) -> str:
    """One message from the world; the reply after the final dot."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="mail.partner.example") as client:
        client.ehlo()
        if tls is not None:
            client.starttls(context=tls)
            client.ehlo()
        for code, text in (client.mail("piet@partner.example"), client.rcpt(RECIPIENT)):
            assert code == 250, text
        client.docmd("DATA")
        client.send(f"From: piet@partner.example\r\nTo: {RECIPIENT}\r\nSubject: Hoi\r\n\r\n".encode() + body + b"\r\n.\r\n")
        code, text = client.getreply()
        return f"{code} {text.decode()}"
