"""The systemd units: how exposed they are, and that the relay runs under what they allow.

systemd is not the first process where tests run, so tests/deploy/confine.py does what the unit says, as far as its docstring tells."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relay.inspect.clamav import EICAR
from tests.deploy.installation import ROOT, SLUIS, USERS, confined, installation, make_folders_of_two, privileged_port, processes, send
from tests.deploy.unit import FOLDER, UNITS, lines, system_calls, value
from tests.servers.daemon import as_root
from tests.servers.ports import free_port
from tests.servers.sink import Sink

SERVICES = ["sluis.service", "sluis-listen.service", "sluis-deliver.service"]


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


def test_every_user_is_made_and_all_share_one_group(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run(as_root(["systemd-sysusers", f"--root={tmp_path}", FOLDER / "sluis.sysusers.conf"]), check=True, capture_output=True)
    users = {line.split(":")[0]: line.split(":") for line in (tmp_path / "etc" / "passwd").read_text().splitlines()}
    [group] = [line.split(":") for line in (tmp_path / "etc" / "group").read_text().splitlines()]
    assert users.keys() == USERS.keys() == {value(unit, "User") for unit in UNITS}
    assert {words[3] for words in users.values()} == {group[2]}
    assert {words[6] for words in users.values()} == {"/usr/sbin/nologin"}
    assert {value(unit, "Group") for unit in UNITS} == {group[0]}


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_starts_sluis(unit: str) -> None:
    assert value(unit, "ExecStart").startswith("/usr/bin/sluis ")


def test_the_two_halves_have_users_of_their_own_and_no_folder_is_given_to_one_of_them() -> None:
    assert value("sluis-listen.service", "User") != value("sluis-deliver.service", "User")
    for unit in ("sluis-listen.service", "sluis-deliver.service", "sluis-store-upgrade.service"):
        assert "StateDirectory" not in dict(lines(unit)), "systemd would chown all that is in it"
    for unit, role in (("sluis-listen.service", "listen"), ("sluis-deliver.service", "deliver")):
        assert value(unit, "ExecStart").endswith(f"--role {role}")


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_does_not_start_without_its_groups_of_key_exchange(unit: str) -> None:
    [path] = [text.partition("=")[2] for name, text in lines(unit) if name == "Environment" and text.startswith("OPENSSL_CONF=")]
    assert value(unit, "AssertPathExists") == path


def test_workers_may_set_their_filter_and_limits() -> None:
    for unit in SERVICES:
        assert {"prctl", "seccomp", "prlimit64", "setrlimit"} <= system_calls(unit)
        assert not {"ptrace", "process_vm_readv", "bpf", "mount", "init_module", "setuid", "chroot", "keyctl"} & system_calls(unit)


def test_the_relay_runs_under_its_unit_and_inspects_and_delivers() -> None:
    async def story() -> None:
        async with Sink() as sink:
            port = privileged_port()
            with installation(sink.port, port) as made:
                await made.done("sluis-store-upgrade.service", [SLUIS, "keys", "spool", "new", "--config", "/etc/sluis/sluis.toml"])
                await made.start("sluis-store-upgrade.service")
                async with made.serving("sluis.service") as process:
                    relay, template, *workers = processes(process.pid)
                    assert (relay["Uid"].split()[0], relay["CapEff"], relay["NoNewPrivs"]) == (str(USERS["sluis"]), f"{1 << 10:016x}", "1")
                    assert (relay["Seccomp_filters"], relay["Umask"]) == ("1", "0077")
                    assert template["Seccomp_filters"] == "1"  # it forks the workers, and reads no message
                    assert len(workers) == 2
                    assert {worker["Seccomp_filters"] for worker in workers} == {"2"}
                    clean, malware = await asyncio.to_thread(lambda: (send(port, b"Beste Jan,"), send(port, EICAR)))
                    assert clean.startswith("250 2.0.0 Ok: queued as ")
                    assert malware.startswith("5")
                    [message] = await sink.wait_for_messages(1)
                    assert message.raw.endswith(b"\r\n\r\nBeste Jan,\r\n")
                    await made.reload("sluis.service", process.pid)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("sluis.service", ["/var/lib/sluis", "/run/sluis", "/tmp"]),
        ("sluis-listen.service", ["/var/lib/sluis/spool", "/tmp"]),
        ("sluis-deliver.service", ["/var/lib/sluis", "/var/lib/sluis/spool", "/var/lib/sluis/keys", "/run/sluis", "/tmp"]),
    ],
)
def test_under_its_unit_a_service_can_write_only_where_it_must(unit: str, expected: list[str]) -> None:
    places = [
        "/var/lib/sluis",
        "/var/lib/sluis/spool",
        "/var/lib/sluis/keys",
        "/run/sluis",
        "/tmp",
        "/etc/sluis",
        "/usr/bin",
        "/",
        str(ROOT),
    ]
    code = (
        f"for folder in {places}:\n"
        "    try:\n"
        "        open(folder + '/probe', 'w').close()\n"
        "        print(folder)\n"
        "    except OSError as error:\n"
        "        assert error.errno in (2, 13, 30), error\n"
    )
    with installation(free_port(), privileged_port()) as made:
        if unit != "sluis.service":
            make_folders_of_two(made)
        done = made.run(unit, [sys.executable, "-c", code])
        assert (done.stdout.split(), done.stderr) == (expected, "")


def test_the_scanner_needs_memory_that_becomes_executable() -> None:
    """Why MemoryDenyWriteExecute is off where workers run; when this test fails, turn it on."""
    with installation(free_port(), privileged_port()) as made:
        code = "from relay.inspect.yara import YaraInspector; YaraInspector(); print('compiled')"
        for deny, expected in ((False, "compiled\n"), (True, "")):
            plan = made.plan("sluis.service", [sys.executable, "-c", code])
            assert not plan["memory_deny_write_execute"]
            plan["memory_deny_write_execute"] = deny
            done = subprocess.run(confined(plan), capture_output=True, text=True, check=False)
            assert done.stdout == expected, done.stderr


assert shutil.which("systemd-analyze"), "systemd is not installed (tests/setup/debian.sh)"
