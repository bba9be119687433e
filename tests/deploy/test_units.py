"""The systemd units: how exposed they are, and that the relay runs under what they allow.

systemd is not the first process where tests run, so tests/deploy/confine.py does what the unit says, as far as its docstring tells."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import smtplib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from relay.inspect.clamav import EICAR
from tests.deploy.confine import Plan
from tests.deploy.unit import FOLDER, UNITS, lines, system_calls, value
from tests.servers.daemon import as_root, free_port, new_home, remove_home, running
from tests.servers.sink import Sink

ROOT = Path(__file__).parents[2]
UID = 64_525  # of nobody on Debian (uid 60000 to 64999 are given out by Debian's policy for packages that need a fixed one)
RECIPIENT = "jan@example.org"


@pytest.mark.parametrize("unit", UNITS)
def test_the_exposure_is_under_two(unit: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(FOLDER / unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    [level] = re.findall(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert float(level) < 2.0


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_every_line(unit: str, tmp_path: Path) -> None:
    for name in UNITS:  # units that name each other, with a program that exists here
        (tmp_path / name).write_text((FOLDER / name).read_text().replace("/usr/bin/sluis", "/bin/true"))
    # A unit below the folder of a test is what the warnings are asked about, not its place.
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / unit], capture_output=True, text=True, check=False)
    assert not [line for line in done.stderr.splitlines() if str(tmp_path) in line or unit in line], done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_runs_as_the_user_that_is_made_for_it(unit: str) -> None:
    [user] = re.findall(r"(?m)^u (\S+) ", (FOLDER / "sluis.sysusers.conf").read_text())
    assert value(unit, "User") == value(unit, "Group") == user
    assert value(unit, "ExecStart").startswith("/usr/bin/sluis ")


def test_the_role_that_listens_reaches_no_private_key() -> None:
    assert value("sluis-listen.service", "InaccessiblePaths").split() == ["-/var/lib/sluis/keys/dkim", "-/var/lib/sluis/keys/spool"]
    assert "--role listen" in value("sluis-listen.service", "ExecStart")


def test_workers_may_set_their_filter_and_limits() -> None:
    for unit in ("sluis.service", "sluis-listen.service", "sluis-deliver.service"):
        assert {"prctl", "prlimit64", "setrlimit"} <= system_calls(unit)
        assert not {"ptrace", "process_vm_readv", "bpf", "mount", "init_module", "setuid", "chroot", "keyctl"} & system_calls(unit)


def test_the_relay_runs_under_its_unit_and_inspects_and_delivers(tmp_path: Path) -> None:
    async def story() -> None:
        async with Sink() as sink:
            port = privileged_port()
            with state(sink.port, port) as home:
                await run(home, [f"{sys.prefix}/bin/sluis", "keys", "spool", "new", "--config", "/etc/sluis/sluis.toml"])
                upgrade = value("sluis-store-upgrade.service", "ExecStart").split()
                await run(home, [f"{sys.prefix}/bin/sluis", *upgrade[1:]])
                async with serving(home) as process:
                    status = children(process.pid)
                    relay, workers = status[0], status[1:]
                    assert (relay["Uid"].split()[0], relay["CapEff"], relay["NoNewPrivs"]) == (str(UID), f"{1 << 10:016x}", "1")
                    assert relay["Seccomp_filters"] == "1"
                    assert len(workers) == 2
                    assert {worker["Seccomp_filters"] for worker in workers} == {"2"}
                    clean, malware = await asyncio.to_thread(lambda: (send(port, b"Beste Jan,"), send(port, EICAR)))
                    assert clean.startswith("250 2.0.0 Ok: queued as ")
                    assert malware.startswith("5")
                    [message] = await sink.wait_for_messages(1)
                    assert message.raw.endswith(b"\r\n\r\nBeste Jan,\r\n")
                    await reload(process.pid, home)

    asyncio.run(story())


def test_under_the_unit_only_state_and_runtime_folders_can_be_written(tmp_path: Path) -> None:
    with state(free_port(), privileged_port()) as home:
        code = (
            "import os\n"
            "for folder in ('/var/lib/sluis', '/run/sluis', '/tmp', '/etc/sluis', '/usr/bin', '/', os.environ['REPOSITORY']):\n"
            "    try:\n"
            "        open(folder + '/probe', 'w').close()\n"
            "        print(folder)\n"
            "    except OSError as error:\n"
            "        assert error.errno in (13, 30), error\n"
        )
        plan = make_plan(home, "sluis.service", [sys.executable, "-c", code])
        plan["environment"]["REPOSITORY"] = str(ROOT)
        done = subprocess.run(confined(plan), capture_output=True, text=True, check=False)
        assert (done.stdout.split(), done.stderr) == (["/var/lib/sluis", "/run/sluis", "/tmp"], "")


def test_the_scanner_needs_memory_that_becomes_executable() -> None:
    """Why MemoryDenyWriteExecute is off where workers run; when this test fails, turn it on."""
    with state(free_port(), privileged_port()) as home:
        code = "from relay.inspect.yara import YaraInspector; YaraInspector(); print('compiled')"
        for deny, expected in ((False, "compiled\n"), (True, "")):
            plan = make_plan(home, "sluis.service", [sys.executable, "-c", code])
            assert not plan["memory_deny_write_execute"]
            plan["memory_deny_write_execute"] = deny
            done = subprocess.run(confined(plan), capture_output=True, text=True, check=False)
            assert done.stdout == expected, done.stderr


# What the tests stand on.


@contextmanager
def state(sink_port: int, port: int) -> Iterator[Path]:
    """Folders that take the places of /etc/sluis, /var/lib/sluis and /run/sluis, with the starter configuration made to fit."""
    home = new_home("unit")
    try:
        for name in ("root", "state", "run"):
            (home / name).mkdir()
        subprocess.run(
            [Path(sys.executable).parent / "sluis", "init", home / "etc", "--hostname", "relay.example.org"],
            check=True,
            capture_output=True,
        )
        settings = home / "etc" / "sluis.toml"
        changes = {
            str(home / "etc"): "/etc/sluis",
            '"127.0.0.1:2525", "[::1]:2525"': '"127.0.0.1:0"',
            '"127.0.0.1:2526", "[::1]:2526"': f'"127.0.0.1:{port}"',
            '"127.0.0.1:9125"': '"127.0.0.1:0"',
        }
        change(settings, changes)
        change(
            home / "etc" / "policies" / "routes.yaml",
            {"smart_host: mail.example.org:25\n    tls: verified": f"smart_host: 127.0.0.1:{sink_port}\n    tls: none"},
        )
        # The first phase is the one in force at the start.
        change(home / "etc" / "policies" / "organisation.yaml", {"[closed, partners, open]": "[open, closed, partners]"})
        subprocess.run(as_root(["chown", "-R", str(UID), home / "state", home / "run"]), check=True)
        subprocess.run(as_root(["chown", f"root:{UID}", home / "etc" / "secrets"]), check=True)
        subprocess.run(as_root(["chmod", "0750", home / "etc" / "secrets"]), check=True)
        yield home
    finally:
        remove_home(home)


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
    return next(port for port in range(1023 - os.getpid() % 300, 512, -1) if port not in taken)


def make_plan(home: Path, unit: str, command: list[str]) -> Plan:
    """What the unit says, for confine.py."""
    options = dict(lines(unit))
    # Rules that the plan has no other way to say; without one of them it would be another unit that is tested.
    for name in ("ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictNamespaces", "NoNewPrivileges"):
        assert options[name] == "yes"
    assert (options["ProtectSystem"], options["ProcSubset"], options["ProtectProc"]) == ("strict", "pid", "invisible")
    state_name, configuration = options["StateDirectory"], options["ConfigurationDirectory"]
    folders = {f"/var/lib/{state_name}": home / "state", f"/etc/{configuration}": home / "etc"}
    if "RuntimeDirectory" in options:
        folders[f"/run/{options['RuntimeDirectory']}"] = home / "run"
    limits = {f"RLIMIT_{name.removeprefix('Limit')}": int(number) for name, number in options.items() if name.startswith("Limit")}
    places = {str(Path(place).resolve()) for place in (sys.base_prefix, sys.prefix, ROOT)} | {sys.prefix, str(ROOT)}
    return Plan(
        root=str(home / "root"),
        readable=sorted(place for place in places if not place.startswith("/usr/") and place != "/usr"),
        folders={place: str(folder) for place, folder in folders.items()},
        writable=[place for place in folders if not place.startswith("/etc/")],
        uid=UID,
        capabilities=[name.removeprefix("CAP_").lower() for name in options["CapabilityBoundingSet"].split()],
        umask=int(options["UMask"], 8),
        limits=limits,
        calls=sorted(system_calls(unit)),
        families=options["RestrictAddressFamilies"].split(),
        memory_deny_write_execute=options["MemoryDenyWriteExecute"] == "yes",
        command=command,
        environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )


def confined(plan: Plan) -> list[str]:
    """The command that carries a plan out."""
    return as_root([sys.executable, "-P", ROOT / "tests" / "deploy" / "confine.py", "enter", json.dumps(plan)])


async def run(home: Path, command: list[str]) -> None:
    """A command under the unit that upgrades the store."""
    plan = make_plan(home, "sluis-store-upgrade.service", command)
    done = await asyncio.to_thread(subprocess.run, confined(plan), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@asynccontextmanager
async def serving(home: Path) -> AsyncIterator[Any]:
    """ExecStart of sluis.service, until it has told systemd that it is ready."""
    words = value("sluis.service", "ExecStart").split()
    plan = make_plan(home, "sluis.service", [f"{sys.prefix}/bin/sluis", *words[1:]])
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notified.setblocking(False)
    notified.bind(str(home / "run" / "notify"))
    subprocess.run(as_root(["chmod", "0777", home / "run" / "notify"]), check=True)
    plan["environment"]["NOTIFY_SOCKET"] = "/run/sluis/notify"
    output = home / "output"
    try:
        async with running(confined(plan), output) as process:
            told = asyncio.create_task(asyncio.get_running_loop().sock_recv(notified, 100))
            ended = asyncio.create_task(process.wait())
            await asyncio.wait((told, ended), timeout=60, return_when=asyncio.FIRST_COMPLETED)
            assert told.done(), output.read_text()
            assert told.result() == b"READY=1"
            ended.cancel()
            yield process
    finally:
        notified.close()


def children(pid: int) -> list[dict[str, str]]:
    """/proc/PID/status of the relay and of its workers, the relay first."""
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


def send(port: int, body: bytes) -> str:
    """One message from the world; the reply after the final dot."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="mail.partner.example") as client:
        client.ehlo()
        for code, text in (client.mail("piet@partner.example"), client.rcpt(RECIPIENT)):
            assert code == 250, text
        client.docmd("DATA")
        client.send(f"From: piet@partner.example\r\nTo: {RECIPIENT}\r\nSubject: Hoi\r\n\r\n".encode() + body + b"\r\n.\r\n")
        code, text = client.getreply()
        return f"{code} {text.decode()}"


async def reload(pid: int, home: Path) -> None:
    """ExecReload."""
    assert value("sluis.service", "ExecReload") == "/bin/kill -HUP $MAINPID"
    subprocess.run(as_root(["kill", "-HUP", str(pid)]), check=True)
    async with asyncio.timeout(20):
        while "reloaded" not in (home / "output").read_text():
            await asyncio.sleep(0.02)


assert shutil.which("systemd-analyze"), "systemd is not installed (tests/setup/debian.sh)"
