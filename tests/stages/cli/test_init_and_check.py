"""From nothing to a relay that can start: `sluis init` writes what `sluis check` is content with; what is wrong is said where it is."""

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from relay.cli import main
from relay.settings.load import load_settings
from relay.store import schema
from relay.store.engine import open_engine
from tests.servers.certificates import YEAR, issue, make_ca

KEYS = (("rsa1", "rsa-sha256"), ("ed1", "ed25519-sha256"))


def sluis(*words: str | Path) -> Result:
    """A command that ends as a command should."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def serve(config: Path) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: it changes umask and log of the process that it runs in."""
    words = [sys.executable, "-m", "relay", "serve", "--config", str(config)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def upgrade(config: Path) -> None:
    """What `sluis store upgrade` does."""
    engine = open_engine(load_settings(config).store)
    try:
        schema.upgrade(engine)
    finally:
        engine.dispose()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the whole installation is made once."""
    home = tmp_path_factory.mktemp("installation")
    folder = home / "etc"
    said = sluis("init", folder, "--state", home / "state", "--run", home / "run", "--hostname", "relay.example.org")
    assert said.exit_code == 0, said.output
    config = folder / "sluis.toml"
    assert sluis("keys", "spool", "new", "--config", config).exit_code == 0
    for selector, algorithm in KEYS:
        assert sluis("dkim", "new", "example.org", "--selector", selector, "--algorithm", algorithm, "--config", config).exit_code == 0
    upgrade(config)
    return home


@pytest.fixture
def config(template: Path, tmp_path: Path) -> Path:
    """A copy of it, to spoil."""
    for source in template.rglob("*"):
        target = tmp_path / source.relative_to(template)
        if source.is_dir():
            target.mkdir(mode=source.stat().st_mode & 0o777)
        else:
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode & 0o777)
    settings = tmp_path / "etc" / "sluis.toml"
    settings.write_text(settings.read_text().replace(str(template), str(tmp_path)))
    return settings


def test_what_init_writes_is_well_once_keys_and_store_are_made(config: Path) -> None:
    said = sluis("check", "--config", config)
    assert (said.exit_code, said.stdout, said.stderr) == (0, "all is well\n", "")
    assert json.loads(sluis("check", "--json", "--config", config).stdout) == {"problems": [], "warnings": []}


def test_what_init_writes_names_the_steps_that_are_left_and_check_names_them_too(tmp_path: Path) -> None:
    said = sluis("init", tmp_path / "etc", "--state", tmp_path / "state", "--run", tmp_path / "run", "--hostname", "relay.example.org")
    for step in ("keys spool new", "dkim new", "store upgrade", "check", "serve"):
        assert f"sluis {step}" in said.stdout
        assert f"--config {tmp_path / 'etc' / 'sluis.toml'}" in said.stdout
    checked = sluis("check", "--config", tmp_path / "etc" / "sluis.toml")
    assert checked.exit_code == 1
    for step in ("keys spool new", "dkim new", "store upgrade"):
        assert f"sluis {step}" in checked.stderr
    assert checked.stdout == "4 problems, 0 warnings\n"
    assert not (tmp_path / "state").exists(), "a check makes nothing that would belong to whoever checked"


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    words = ("init", tmp_path / "etc", "--hostname", "relay.example.org")
    assert sluis(*words).exit_code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = sluis(*words)
    assert again.exit_code == 1
    assert again.stderr == f"Error: {tmp_path / 'etc' / 'sluis.toml'} is there already; nothing was written\n"
    (tmp_path / "etc" / "sluis.toml").unlink()
    assert f"{tmp_path / 'etc' / 'policies'} is there already" in sluis(*words).stderr, "half of it is enough"
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}.items() < before.items()


@pytest.mark.parametrize("hostname", ["relay_1.example.org", "-a.example.org", 'relay".example.org', "relay\n.example.org", "a..b"])
def test_init_refuses_a_host_name_that_is_none(tmp_path: Path, hostname: str) -> None:
    said = sluis("init", tmp_path / "etc", "--hostname", hostname)
    assert said.exit_code == 2
    assert "is no full host name such as relay.example.org" in said.stderr
    assert "--hostname" in said.stderr
    assert not (tmp_path / "etc").exists()


def test_init_writes_a_file_that_can_be_read_whatever_the_folder_is_called(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" \\ folder \x01 é'
    assert sluis("init", folder, "--state", folder, "--run", folder, "--hostname", "relay.example.org").exit_code == 0
    assert load_settings(folder / "sluis.toml").policies == folder / "policies"


def test_init_where_nothing_can_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = sluis("init", tmp_path / "file" / "etc", "--hostname", "relay.example.org")
    assert said.exit_code == 1
    assert f"{tmp_path / 'file'}" in said.stderr


def edited(path: str, old: str, new: str) -> Callable[[Path], None]:
    """One change to a file of the installation; `@` stands for its folder."""

    def change(home: Path) -> None:
        file = home / path
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new.replace("@", str(home)), 1))

    return change


def certificate(name: str, *, key_of: str | None = None, valid: datetime.timedelta = YEAR, bits: int = 0o600) -> Callable[[Path], None]:
    """A listener with a certificate, and with the key of another one if it says so; `bits` are the rights on the key."""

    def change(home: Path) -> None:
        authority = make_ca(home)
        chain, key = issue(authority, [name], valid=valid)
        if key_of is not None:
            key = issue(authority, [key_of])[1]
        key.chmod(bits)
        line = f'tls = {{ certificate = "{chain}", key = "{key}" }}\n'
        edited("etc/sluis.toml", "require_tls = false                  # put", line + "require_tls = false # put")(home)

    return change


def mode(path: str, bits: int) -> Callable[[Path], None]:
    """Wrong rights on a file."""

    def change(home: Path) -> None:
        (found,) = home.glob(path)
        found.chmod(bits)

    return change


def content(path: str, data: bytes) -> Callable[[Path], None]:
    """Other content."""

    def change(home: Path) -> None:
        (found,) = home.glob(path)
        found.write_bytes(data)

    return change


def gone(path: str) -> Callable[[Path], None]:
    """A file that is missing."""

    def change(home: Path) -> None:
        for found in home.glob(path):
            found.unlink()

    return change


def old_schema(home: Path) -> None:
    """A store that a former version left."""
    engine = open_engine(load_settings(home / "etc" / "sluis.toml").store)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    engine.dispose()


def lost_trigger(home: Path) -> None:
    """A store whose events could be changed."""
    engine = open_engine(load_settings(home / "etc" / "sluis.toml").store)
    with engine.begin() as connection:
        name = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().first()
        connection.execute(text(f"DROP TRIGGER {name}"))
    engine.dispose()


def login_route(data: bytes | None, bits: int = 0o600) -> Callable[[Path], None]:
    """A smart host with a login, whose file holds this."""

    def change(home: Path) -> None:
        edited(
            "etc/policies/routes.yaml",
            "  - name: ",
            "  - name: hub\n    to: [hub.example]\n    smart_host: hub.example:587\n    login: hub\n  - name: ",
        )(home)
        if data is not None:
            path = home / "etc" / "secrets" / "hub"
            path.write_bytes(data)
            path.chmod(bits)

    return change


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "settings: no TOML": (edited("etc/sluis.toml", "hostname =", "hostname"), "etc/sluis.toml:4: "),
    "settings: unknown key": (
        edited("etc/sluis.toml", "addresses =", "adresses ="),
        "etc/sluis.toml:14: unknown key 'adresses' (did you mean 'addresses'?)",
    ),
    "settings: wrong type": (edited("etc/sluis.toml", 'hostname = "relay.example.org"', "hostname = 5"), "etc/sluis.toml:4: hostname"),
    "settings: port": (edited("etc/sluis.toml", "127.0.0.1:2525", "127.0.0.1:99999"), "127.0.0.1:99999"),
    "settings: TLS without certificate": (
        edited("etc/sluis.toml", "require_tls = false", "require_tls = true"),
        "has require_tls and no certificate",
    ),
    "settings: gone": (gone("etc/sluis.toml"), "no such settings file (make one with: sluis init DIR)"),
    "settings: not text": (content("etc/sluis.toml", b"hostname = '\xff'\n"), "etc/sluis.toml:1: not UTF-8"),
    "settings: no listener": (
        content("etc/sluis.toml", b'hostname = "relay.example.org"\npolicies = "policies"\n'),
        "no listener is configured: nothing could come in ([[listeners]])",
    ),
    "policy: no YAML": (edited("etc/policies/routes.yaml", "routes:", "routes: ["), "etc/policies/routes.yaml:"),
    "policy: unknown key": (
        edited("etc/policies/clients.yaml", "may_send_as", "may_send_us"),
        "unknown key 'may_send_us' (did you mean 'may_send_as'?)",
    ),
    "policy: no such phase": (edited("etc/policies/organisation.yaml", "phases:", "phasen:"), "etc/policies/organisation.yaml:"),
    "policy: scanner that is not there": (
        content("etc/policies/inspection.yaml", b"outbound: [yara, clamd]\n"),
        "etc/policies/inspection.yaml:1: clamd must answer, but clamd.socket is not set",
    ),
    "certificate: gone": (
        edited("etc/sluis.toml", "require_tls = false", 'tls = { certificate = "@/no.pem", key = "@/no.key" }\nrequire_tls = false'),
        "no.pem:1: No such file or directory",
    ),
    "certificate: key of another": (certificate("relay.example.org", key_of="other.example.org"), "no usable certificate with the key"),
    "certificate: expired": (certificate("relay.example.org", valid=-YEAR), "this certificate ended on 2"),
    "certificate: others may read the key": (certificate("relay.example.org", bits=0o644), "others may read this private key (chmod 600)"),
    "spool key: gone": (gone("state/keys/spool.pub"), "make one with: sluis keys spool new"),
    "spool key: private one gone": (gone("state/keys/spool/*.key"), "is missing"),
    "spool key: no key": (content("state/keys/spool.pub", b"\xff\xfe"), "spool.pub:1: not a spool public key (64 hex digits)"),
    "spool key: others may read": (mode("state/keys/spool/*.key", 0o644), "others may read this private key (chmod 600)"),
    "DKIM key: gone": (
        gone("state/keys/dkim/example.org/rsa1.pem"),
        "rsa1.pem: no such DKIM key (sluis dkim new example.org --selector rsa1",
    ),
    "DKIM key: others may read": (mode("state/keys/dkim/example.org/rsa1.pem", 0o644), "others may read or change this key (chmod 600"),
    "DKIM key: no key": (content("state/keys/dkim/example.org/ed1.pem", b"nonsense"), "ed1.pem: not an unencrypted private key in PEM"),
    "secrets: others may read": (mode("etc/secrets", 0o755), "can be read or changed by everybody (chmod o-rwx)"),
    "login of a route: gone": (login_route(None), "secrets/hub: No such file or directory (route 'hub')"),
    "login of a route: others may read": (login_route(b"user:password\n", 0o644), "secrets/hub: others may read or change this file"),
    "login of a route: no login": (login_route(b"password\n"), "secrets/hub: one line `user:password` is expected (route 'hub')"),
    "store: gone": (gone("state/sluis.db*"), "state/sluis.db is not there (run: sluis store upgrade)"),
    "store: old schema": (old_schema, "store: the store has schema 0000, this program needs"),
    "store: a trigger is missing": (lost_trigger, "store: "),
    "store: no database": (content("state/sluis.db", b"this is no database" * 100), "store: the store can't be opened: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_check_says_what_is_wrong_and_where(config: Path, name: str) -> None:
    spoil, expected = WRONG[name]
    spoil(config.parents[1])
    said = sluis("check", "--config", config)
    assert said.exit_code == 1
    assert expected in said.stderr
    assert said.stdout.endswith(" warnings\n")
    told: dict[str, Any] = json.loads(sluis("check", "--json", "--config", config).stdout)
    assert any(expected in problem for problem in told["problems"])


def test_wrong_settings_hide_no_mistake_in_the_policy(config: Path) -> None:
    home = config.parents[1]
    edited("etc/sluis.toml", "addresses =", "adresses =")(home)
    edited("etc/policies/clients.yaml", "may_send_as", "may_send_us")(home)
    said = sluis("check", "--config", config)
    assert said.exit_code == 1
    assert "unknown key 'adresses'" in said.stderr
    assert "unknown key 'may_send_us'" in said.stderr


def test_a_dkim_key_that_is_missing_is_told_with_the_policy_that_wants_it(config: Path) -> None:
    gone("state/keys/dkim/example.org/rsa1.pem")(config.parents[1])
    wanted = f"(wanted by {config.parent}/policies/signing.yaml, domain 'example.org')\n"
    assert sluis("check", "--config", config).stderr.endswith(wanted)


def test_check_without_the_store_looks_at_files_only(config: Path) -> None:
    gone("state/sluis.db*")(config.parents[1])
    said = sluis("check", "--offline", "--config", config)
    assert (said.exit_code, said.stdout) == (0, "all is well\n")


def test_a_login_file_that_is_broken_is_named_with_its_line(config: Path) -> None:
    home = config.parents[1]
    edited("etc/sluis.toml", "# logins", "logins")(home)
    logins = home / "etc" / "secrets" / "logins"
    for data, expected in ((b"# ours\nhub:plain\n", "logins:2: not `name:argon2id-hash`"), (b"\xff\n", "logins:1: not UTF-8")):
        logins.write_bytes(data)
        logins.chmod(0o600)
        assert expected in sluis("check", "--config", config).stderr


def test_what_may_be_meant_so_is_a_warning_and_no_problem(config: Path) -> None:
    home = config.parents[1]
    edited("etc/sluis.toml", '# socket = "/run/clamav/clamd.ctl"', 'socket = "@/no-clamd"')(home)
    certificate("relay.example.org", valid=datetime.timedelta(days=3))(home)
    said = sluis("check", "--config", config)
    assert said.exit_code == 0
    assert "this certificate ends on 2" in said.stderr
    assert "no-clamd: nobody listens there (clamd.socket)" in said.stderr
    assert said.stdout == "0 problems, 2 warnings\n"


def test_nothing_that_a_file_holds_steers_the_terminal(config: Path) -> None:
    edited("etc/policies/clients.yaml", "name: mailservers", 'name: "a\\x1b[2Jb"')(config.parents[1])
    said = sluis("check", "--config", config)
    assert said.exit_code == 1
    assert "\x1b" not in said.stderr + said.stdout


def test_serve_before_the_store_is_made_says_so_and_makes_none(config: Path) -> None:
    state = config.parents[1] / "state"
    gone("state/sluis.db*")(config.parents[1])
    before = sorted(state.rglob("*"))
    said = serve(config)
    assert (said.returncode, said.stderr) == (1, f"Error: {state}/sluis.db: no store yet (run: sluis store upgrade)\n")
    assert sorted(state.rglob("*")) == before


def test_settings_that_nobody_may_read_are_no_traceback(config: Path) -> None:
    if os.geteuid() == 0:
        config.unlink()
        config.mkdir()  # root may read everything
    else:
        config.chmod(0)
    for command in (["check"], ["queue", "list"], ["keys", "spool", "list"]):
        said = sluis(*command, "--config", config)
        assert said.exit_code in (1, 2)
        assert "sluis.toml" in said.stderr
    refused = serve(config)
    assert refused.returncode in (1, 2)
    assert "sluis.toml" in refused.stderr
