"""`sluis.toml` is read whole and checked whole: settings, or every problem with its line and the nearest known key."""

from pathlib import Path

import pytest

from relay.model.client import Side
from relay.model.errors import ConfigurationError
from relay.settings.load import MAX_BYTES, load_settings
from relay.settings.models import Settings

SMALL = 'hostname = "relay.example.nl"\n'
LISTENER = '[[listeners]]\nname = "in"\nside = "inside"\naddresses = ["127.0.0.1:0"]\nrequire_tls = false\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sluis.toml"


def loaded(file: Path, text: str) -> Settings:
    file.write_text(text, encoding="utf-8")
    return load_settings(file)


def problems(file: Path, text: str | bytes) -> list[str]:
    """What is wrong, without the path of the file in front."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file)
    assert all(problem.startswith(str(file)) for problem in caught.value.problems)
    return [problem.removeprefix(f"{file}:") for problem in caught.value.problems]


def test_a_host_name_is_all_that_has_no_default(file: Path) -> None:
    settings = loaded(file, SMALL)

    assert settings.hostname == "relay.example.nl"
    assert settings.listeners == ()


def test_the_safe_value_is_the_default(file: Path) -> None:
    listener = loaded(file, SMALL + LISTENER.replace("require_tls = false\n", 'tls = {certificate = "c", key = "k"}\n')).listeners[0]

    assert listener.require_tls
    assert (listener.auth, listener.proxy_from, listener.xclient_from, listener.side) == (False, (), (), Side.INSIDE)


def test_relative_paths_are_relative_to_the_file(file: Path) -> None:
    text = SMALL + 'policies = "policies"\n[store]\nurl = "sqlite:///sluis.db"\n[spool]\nfolder = "/srv/spool"\nprivate_keys = "keys"\n'
    settings = loaded(file, text)

    assert settings.policies == file.parent / "policies"
    assert settings.store.url == f"sqlite:///{file.parent}/sluis.db"
    assert settings.spool.folder == Path("/srv/spool")
    assert settings.spool.private_keys == file.parent / "keys"


def test_paths_of_a_listener_are_relative_to_the_file_too(file: Path) -> None:
    tls = loaded(file, SMALL + LISTENER + 'tls = {certificate = "tls/chain.pem", key = "/etc/key.pem"}\n').listeners[0].tls

    assert tls is not None
    assert (tls.certificate, tls.key) == (file.parent / "tls/chain.pem", Path("/etc/key.pem"))


def test_nothing_in_the_environment_changes_a_setting(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOSTNAME", "SLUIS_HOSTNAME", "hostname"):
        monkeypatch.setenv(name, "other.example.nl")

    assert loaded(file, SMALL).hostname == "relay.example.nl"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hostnam = 'x.nl'\n" + SMALL, "1: unknown key 'hostnam' (did you mean 'hostname'?)"),
        (SMALL + "\n# why\n[stor]\n", "4: unknown key 'stor' (did you mean 'store'?)"),
        (SMALL + "[delivery]\n\nexpirey = 5\n", "4: unknown key 'expirey' (did you mean 'expiry'?)"),
        (SMALL + "delivery.expirey = 5\n", "2: unknown key 'expirey' (did you mean 'expiry'?)"),
        (SMALL + LISTENER + "adresses = []\n", "7: unknown key 'adresses' (did you mean 'addresses'?)"),
        (SMALL + LISTENER + LISTENER.replace('"in"', '"b"') + "auht = true\n", "12: unknown key 'auht' (did you mean 'auth'?)"),
        (SMALL + LISTENER + 'tls = {certificate = "c", key = "k", ca = "x"}\n', "7: unknown key 'ca'"),
        (
            SMALL + LISTENER + "[listeners.tls]\ncertificate = 'c'\nkey = 'k'\nclient_c = 'x'\n",
            "10: unknown key 'client_c' (did you mean 'client_ca'?)",
        ),
        ("", "1: the key 'hostname' is missing"),
        (SMALL + "[[listeners]]\nname = 'x'\naddresses = ['127.0.0.1:1']\n", "2: the key 'side' is missing"),
    ],
)
def test_an_unknown_or_missing_key_is_said_with_line_and_hint(file: Path, text: str, problem: str) -> None:
    assert problem in problems(file, text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[log]\nlevel = "warn"\n', "3: log.level: input should be 'debug', 'info', 'warning' or 'error' (did you mean 'warning'?)"),
        ('[delivery]\nparallel = "20"\n', "3: delivery.parallel: input should be a valid integer"),
        ("[delivery]\nparallel = 0\n", "3: delivery.parallel: input should be greater than or equal to 1"),
        ("[delivery]\nschedule = []\n", "3: delivery.schedule: tuple should have at least 1 item after validation, not 0"),
        ("[delivery]\nexpiry = -1\n", "3: delivery.expiry: input should be greater than 0"),
        ("[delivery]\nexpiry = 2026-11-24\n", "3: delivery.expiry: input should be a valid number"),
        ("[spool]\nfull_percent = 100\n", "3: spool.full_percent: input should be less than 100"),
        ("[control]\ntwo_people = 0\n", "3: control.two_people: input should be a valid boolean"),
        (
            "[http]\naddress = 'localhost:80'\n",
            "3: http.address: 'localhost:80' is no IP address and port",
        ),
        (LISTENER.replace('["127.0.0.1:0"]', "[\n  '127.0.0.1:1',\n  'mail:2',\n]"), "7: listeners.0.addresses.1: 'mail:2' is no IP"),
        (LISTENER + "recipients = 99\n", "7: listeners.0.recipients: input should be greater than or equal to 100"),
    ],
)
def test_a_wrong_value_is_said_with_its_line(file: Path, text: str, problem: str) -> None:
    found = problems(file, SMALL + text)

    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('hostname = "x\n', 1),
        (SMALL + "[store\n", 2),
        (SMALL + SMALL, 2),
        (SMALL + "[store]\n[store]\n", 3),
        (SMALL + "a = [1,\n", 3),
        (SMALL + "x = 1__0\n", 2),
        (SMALL + 'x = "\x00"\n', 2),
    ],
)
def test_what_is_no_toml_is_said_with_its_line(file: Path, text: str, line: int) -> None:
    found = problems(file, text)

    assert len(found) == 1
    assert found[0].startswith(f"{line}: ")


def test_every_problem_is_said_at_once(file: Path) -> None:
    found = problems(file, "hostnam = 'x'\n[stor]\n[delivery]\nparallel = 0\n")

    assert sorted(problem.partition(": ")[0] for problem in found) == ["1", "1", "2", "4"]


def test_bytes_that_are_no_utf_8_are_said_with_their_line(file: Path) -> None:
    assert problems(file, SMALL.encode() + b"# caf\xe9\n") == ["2: not UTF-8"]


def test_a_file_that_is_no_settings_file_is_said(file: Path) -> None:
    assert problems(file, "#" * (MAX_BYTES + 1)) == [f" larger than {MAX_BYTES} octets"]
    with pytest.raises(ConfigurationError, match="this is a folder"):
        load_settings(file.parent)
    with pytest.raises(ConfigurationError, match=r"no such settings file \(make one with: sluis init DIR\)"):
        load_settings(file.parent / "other.toml")


def test_a_tower_of_brackets_is_refused(file: Path) -> None:
    assert problems(file, SMALL + "x = " + "[" * 100_000)


def test_control_characters_of_the_file_never_reach_a_terminal(file: Path) -> None:
    found = problems(file, SMALL + '"\\u001b]0;owned\\u0007" = 1\n')

    assert found == ["2: unknown key '\\u001b]0;owned\\u0007'"]
