"""Passwords: argon2 off the event loop, a few at a time, and a short memory for those that were right."""

import asyncio
import ssl
import stat
from pathlib import Path

import pytest
from argon2 import extract_parameters

from relay.listen.replies import AUTH_BUSY
from relay.model.client import Peer
from relay.model.errors import ConfigurationError
from relay.settings.models import TlsFiles
from relay.store.logins import CACHE_SECONDS, WAITING, Logins, TooManyAtOnce, read_logins, set_login
from tests.fakes.intake import FakeIntake
from tests.servers.certificates import Authority
from tests.stages.listen.listening import HOSTNAME, listening, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with jan's login."""
    set_login(tmp_path / "logins", "jan", "geheim")
    return tmp_path / "logins"


class Counted(Logins):
    """What costs time is looked at: `checked` has the hash of each password that was."""

    def __init__(self, path: Path, cache_seconds: float = CACHE_SECONDS) -> None:
        super().__init__(path, cache_seconds)
        self.checked: list[str] = []

    def _check(self, stored: str, password: str) -> bool:
        self.checked.append(stored)
        return super()._check(stored, password)


def test_only_the_right_password_of_the_right_login_is_right(path: Path) -> None:
    async def dialogue() -> None:
        logins = Logins(path)
        assert await logins.verify("jan", "geheim")
        assert not await logins.verify("jan", "Geheim")
        assert not await logins.verify("jan", "")
        assert not await logins.verify("els", "geheim")
        assert not await Logins(None).verify("jan", "geheim")
        assert not await Logins(path.with_name("nowhere")).verify("jan", "geheim")

    run(dialogue())


def test_a_success_is_remembered_for_a_while_and_a_failure_never(path: Path) -> None:
    async def dialogue() -> None:
        logins, soon = Counted(path), Counted(path, cache_seconds=0.2)
        for times in (1, 1, 1):
            assert await logins.verify("jan", "geheim")
            assert len(logins.checked) == times
        for times in (2, 3):
            assert not await logins.verify("jan", "fout")
            assert len(logins.checked) == times
        assert await logins.verify("jan", "geheim")
        assert len(logins.checked) == 3, "a wrong one in between makes nobody forget"
        while len(soon.checked) < 2:  # a success that is remembered does not prolong it
            assert await soon.verify("jan", "geheim")
            await asyncio.sleep(0.01)

    run(dialogue())


def test_an_unknown_login_costs_as_much_as_a_wrong_password(path: Path) -> None:
    async def dialogue() -> None:
        logins = Counted(path)
        assert not await logins.verify("jan", "fout")
        assert not await logins.verify("els", "fout")
        known, unknown = logins.checked
        assert extract_parameters(unknown) == extract_parameters(known)  # rounds, memory and lanes: all that the time hangs on

    run(dialogue())


def test_a_changed_password_counts_at_once(path: Path) -> None:
    async def dialogue() -> None:
        logins = Logins(path)
        assert await logins.verify("jan", "geheim")
        set_login(path, "jan", "nieuw")
        assert not await logins.verify("jan", "geheim")
        assert await logins.verify("jan", "nieuw")
        path.write_text("")
        assert not await logins.verify("jan", "nieuw")

    run(dialogue())


def test_the_loop_goes_on_while_passwords_are_checked(loop: str, path: Path) -> None:
    async def dialogue() -> None:
        logins = Logins(path)
        checks = asyncio.gather(*(logins.verify("jan", f"fout{number}") for number in range(4)))
        turns = 0
        while not checks.done():
            await asyncio.sleep(0)
            turns += 1
        assert await checks == [False] * 4
        assert turns > 100

    run(dialogue(), loop)


def test_a_flood_of_passwords_is_cut_off_and_no_right_one_is_called_wrong(path: Path) -> None:
    async def dialogue() -> None:
        logins = Logins(path)
        assert await logins.verify("jan", "geheim")
        flood = [asyncio.create_task(logins.verify("els", str(number))) for number in range(WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyAtOnce):
            await logins.verify("els", "one too many")
        assert await logins.verify("jan", "geheim")  # remembered: it costs nothing
        for task in flood:
            task.cancel()
        await asyncio.wait(flood)

    run(dialogue())


def test_who_is_cut_off_hears_a_4xx(loop: str, files: TlsFiles, authority: Authority) -> None:
    class Busy(FakeIntake):
        async def authenticate(self, peer: Peer, login: str, password: str) -> bool:
            raise TooManyAtOnce("50 passwords are being checked")

    async def dialogue() -> None:
        async with listening(Busy(), tls=files, implicit_tls=True, auth=True) as door:
            context = ssl.create_default_context(cafile=str(authority.certificate))
            line = await door.connect(ssl=context, server_hostname=HOSTNAME)
            await line.say("EHLO client.example")
            assert (
                await line.say("AUTH PLAIN AGphbgBnZWhlaW0=")
                == str(AUTH_BUSY)
                == "454 4.7.0 Temporary authentication failure, try again later"
            )
            assert (await line.say("NOOP")).startswith("250")
            await line.close()

    run(dialogue(), loop)


def test_the_file_is_for_its_owner_only_and_keeps_the_other_logins(path: Path) -> None:
    path.chmod(0o644)
    set_login(path, "els", "ook geheim")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(read_logins(path)) == ["els", "jan"]
    assert "geheim" not in path.read_text()


@pytest.mark.parametrize("line", ["jan", "jan:", ":$argon2id$x", "jan:$argon2i$x", "jan:geheim"])
def test_a_line_that_is_no_login_is_an_error_with_its_number(line: str, tmp_path: Path) -> None:
    path = tmp_path / "logins"
    path.write_text(f"# logins\n\n{line}\n")
    with pytest.raises(ConfigurationError, match=r"logins:3: not `name:argon2id-hash`"):
        read_logins(path)
