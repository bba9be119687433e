"""Which policy is in force is said by the store; a process that can't work under it decides nothing."""

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from relay.app.in_force import InForce
from relay.app.policy_source import Source
from relay.model.errors import ConfigurationError, PolicyUnavailable, StoreError
from relay.observe.alerts import Alerts
from relay.phases import change
from relay.phases import state as phase_state
from relay.policy.load import digest, read_files
from relay.settings.models import PolicyRollout, Settings, Store
from relay.store import policies, rollouts
from tests.servers.recording import Recording

SHIPPED = Path(__file__).parents[3] / "policies"
ON_POSTGRESQL = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


class Machine:
    """A policy folder, and a process over the store of `recording`."""

    def __init__(
        self, recording: Recording, folder: Path, database: Store, *, applies: bool = True, source: Any = "folder", made: bool = False
    ) -> None:
        self.folder = folder
        if not made and not folder.exists():
            shutil.copytree(SHIPPED, folder)
        self.alerts = Alerts()
        settings = Settings(hostname="relay.example.nl", policies=folder, store=database, policy=PolicyRollout(source=source))
        self.source = Source(settings, applies=applies)
        self.in_force = InForce(self.source, recording.journal, recording.reader, recording.clock, self.alerts, str(folder))

    @property
    def digest(self) -> str:
        """Of the folder."""
        return digest(read_files(self.folder))

    def change(self, text: str) -> str:
        """Another policy in the folder; gives its digest."""
        path = self.folder / "organisation.yaml"
        path.write_text(f"{path.read_text()}# {text}\n")
        return self.digest

    async def reload(self) -> None:
        """SIGHUP."""
        candidate = await self.in_force.candidate()
        if candidate is not None:
            await self.in_force.put(*candidate)

    def works_under(self) -> str:
        """The digest."""
        return self.in_force.current()[1].policy


def run(story: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(story())


def test_what_the_store_refused_is_tried_again_at_the_next_refresh(recording: Recording, database: Store, tmp_path: Path) -> None:
    async def story() -> None:
        in_force = Machine(recording, tmp_path / "one", database).in_force
        await in_force.start()
        tries: list[bool] = []

        async def bring_back() -> None:
            tries.append(True)
            if len(tries) == 1:
                raise StoreError("away for a moment")

        in_force.on_change = bring_back
        await recording.journal.submit(lambda connection: phase_state.set_phase(connection, "open", 0))
        with pytest.raises(StoreError):
            await in_force.refresh()
        await in_force.refresh()
        await in_force.refresh()
        assert len(tries) == 2, "again after the failure, and not once more"

    run(story)


def test_a_policy_that_is_put_in_force_on_one_machine_is_in_force_on_the_other(
    recording: Recording, database: Store, tmp_path: Path
) -> None:
    async def story() -> None:
        one, two = (Machine(recording, tmp_path / name, database) for name in ("one", "two"))
        await one.in_force.start()
        await two.in_force.start()
        before = two.works_under()
        fences = two.in_force.fences()
        changed = one.change("stricter")
        await one.reload()
        assert (one.works_under(), two.works_under()) == (changed, before)
        await two.in_force.refresh()
        assert two.works_under() == changed
        assert two.in_force.fences() != fences, "so that no mark goes through that was decided under the old one"

    run(story)


@ON_POSTGRESQL
def test_a_start_brings_no_older_policy_back(recording: Recording, database: Store, tmp_path: Path) -> None:
    async def story() -> None:
        one, two = (Machine(recording, tmp_path / name, database) for name in ("one", "two"))
        await one.in_force.start()
        await two.in_force.start()
        changed = one.change("stricter")
        await one.reload()
        again = Machine(recording, tmp_path / "two", database)
        await again.in_force.start()
        assert again.works_under() == changed
        await again.reload()
        assert again.works_under() == again.digest, "a reload puts the folder in force, whatever it is"

    run(story)


@ON_POSTGRESQL
def test_a_folder_that_was_changed_while_its_machine_was_down_is_put_in_force_at_the_start(
    recording: Recording, database: Store, tmp_path: Path
) -> None:
    async def story() -> None:
        one = Machine(recording, tmp_path / "one", database)
        await one.in_force.start()
        changed = one.change("while it was down")
        await Machine(recording, tmp_path / "one", database).in_force.start()
        await one.in_force.refresh()
        assert one.works_under() == changed

    run(story)


@ON_POSTGRESQL
def test_a_new_machine_takes_what_is_in_force_and_needs_no_folder(recording: Recording, database: Store, tmp_path: Path) -> None:
    async def story() -> None:
        one = Machine(recording, tmp_path / "one", database)
        await one.in_force.start()
        new = Machine(recording, tmp_path / "new", database)
        new.change("a folder that nobody has seen yet")
        await new.in_force.start()
        assert new.works_under() == one.digest
        shutil.rmtree(new.folder)
        bare = Machine(recording, tmp_path / "one", database, applies=False)
        await bare.in_force.start()
        assert bare.works_under() == one.digest

    run(story)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_where_one_process_owns_the_store_its_folder_is_put_in_force_at_each_start(
    recording: Recording, database: Store, tmp_path: Path
) -> None:
    async def story() -> None:
        one = Machine(recording, tmp_path / "one", database)
        await one.in_force.start()
        first = one.digest
        one.change("later")
        await one.reload()
        shutil.rmtree(one.folder)
        again = Machine(recording, tmp_path / "one", database)
        await again.in_force.start()
        assert again.works_under() == first

    run(story)


def test_what_only_listens_puts_nothing_in_force_and_waits_for_a_policy(recording: Recording, database: Store, tmp_path: Path) -> None:
    async def story() -> None:
        listening = Machine(recording, tmp_path / "one", database, applies=False)
        await listening.in_force.start()
        with pytest.raises(PolicyUnavailable) as refusal:
            listening.in_force.current()
        assert str(refusal.value.reply).startswith("451 4.3.5 ")
        one = Machine(recording, tmp_path / "one", database)
        await one.in_force.start()
        await listening.in_force.refresh()
        assert listening.works_under() == one.digest

    run(story)


@pytest.mark.parametrize("wrong", ["another-version", "no-certificates", "altered"])
def test_who_can_not_work_under_the_policy_in_force_decides_nothing_and_says_so(
    recording: Recording, database: Store, tmp_path: Path, wrong: str
) -> None:
    async def story() -> None:
        one = Machine(recording, tmp_path / "one", database)
        await one.in_force.start()
        files = read_files(one.folder)
        if wrong == "no-certificates":
            files["routes.yaml"] = 'routes:\n  - {name: all, to: ["*"], tls: verified, ca_file: /not/here.pem}\n'
        else:
            files["organisation.yaml"] += "a_key_of_tomorrow: yes\n"
        name = "0" * 64 if wrong == "altered" else digest(files)

        def apply(connection: object) -> None:
            policies.keep(connection, name, files if wrong != "altered" else read_files(one.folder), 1)  # type: ignore[arg-type]
            change.set_policy(connection, name, "a machine of tomorrow", "", 1)  # type: ignore[arg-type]

        recording.write(apply)
        await one.in_force.refresh()
        with pytest.raises(PolicyUnavailable):
            one.in_force.current()
        assert one.in_force.stopped()
        assert name in one.in_force.unavailable()
        await one.in_force.refresh()
        assert one.alerts.counts["policy-unavailable"] == 1
        one.change("back to what can be used")
        await one.reload()
        assert one.works_under() == one.digest
        assert not one.in_force.stopped()

    run(story)


def test_a_bad_folder_is_refused_at_the_start(recording: Recording, database: Store, tmp_path: Path) -> None:
    async def story() -> None:
        one = Machine(recording, tmp_path / "one", database)
        (one.folder / "organisation.yaml").write_text("nothing: here\n")
        with pytest.raises(ConfigurationError):
            await one.in_force.start()

    run(story)


async def approve(recording: Recording, one: Machine) -> str:
    """As an approval does it; gives the digest."""
    checked = one.source.read()
    assert checked is not None

    def apply(connection: Connection) -> None:
        policies.keep(connection, checked.policy.digest, checked.content.files, 1)
        change.set_policy(connection, checked.policy.digest, "somebody", "approved", 1)

    await recording.journal.submit(apply)
    return checked.policy.digest


def test_the_first_policy_of_a_store_is_that_of_the_folder_and_is_recorded_as_such(
    recording: Recording, database: Store, tmp_path: Path
) -> None:
    async def story() -> None:
        one = Machine(recording, tmp_path / "one", database, source="approved")
        await one.in_force.start()
        assert one.works_under() == one.digest
        (row,) = recording.reader.read_now(partial(rollouts.page, after=None, limit=10))
        assert (row.digest, row.before, row.origin, row.author) == (one.digest, None, "folder", str(one.folder))
        assert row.tested == {"ran": False, "passed": 0, "failed": 0, "not_reached": []}
        assert row.live_us is not None
        tests = recording.reader.read_now(partial(rollouts.tests_of, digest=one.digest))
        assert "tests/passing.yaml" in tests, "so that it can come back with them"

    run(story)


@pytest.mark.parametrize("wrong", ["another", "broken", "away"])
def test_a_folder_that_nobody_approved_changes_nothing_at_a_start_or_a_reload_and_is_told(
    recording: Recording, database: Store, tmp_path: Path, wrong: str
) -> None:
    async def story() -> None:
        one = Machine(recording, tmp_path / "one", database, source="approved")
        await one.in_force.start()
        first = one.digest
        await one.reload()
        assert one.alerts.counts["policy-not-approved"] == 0
        match wrong:
            case "another":
                one.change("stricter")
            case "broken":
                (one.folder / "organisation.yaml").write_text("nothing: here\n")
            case _:
                shutil.move(one.folder, tmp_path / "elsewhere")
        await one.reload()
        again = Machine(recording, tmp_path / "one", database, source="approved", made=True)
        await again.in_force.start()
        assert (one.works_under(), again.works_under()) == (first, first)
        told = 0 if wrong == "away" else 1
        assert [machine.alerts.counts["policy-not-approved"] for machine in (one, again)] == [told, told]

    run(story)


def test_what_was_approved_is_in_force_on_every_machine_whatever_its_folder_holds(
    recording: Recording, database: Store, tmp_path: Path
) -> None:
    async def story() -> None:
        one, two = (Machine(recording, tmp_path / name, database, source="approved") for name in ("one", "two"))
        await one.in_force.start()
        await two.in_force.start()
        one.change("stricter")
        approved = await approve(recording, one)
        await two.in_force.refresh()
        await one.in_force.refresh()
        assert one.works_under() == two.works_under() == approved

    run(story)


def test_a_folder_whose_tests_fail_is_put_in_force_by_no_reload_and_no_start(recording: Recording, database: Store, tmp_path: Path) -> None:
    async def story() -> None:
        one = Machine(recording, tmp_path / "one", database)
        await one.in_force.start()
        first = one.digest
        (one.folder / "rules" / "more.yaml").write_text("rules: [{name: all, then: quarantine, because: x}]\n")
        with pytest.raises(ConfigurationError, match=r"passing\.yaml:\d+: the test '.*' failed: .*expected deliver, was quarantine"):
            await one.reload()
        again = Machine(recording, tmp_path / "one", database)
        await again.in_force.start()
        assert (one.works_under(), again.works_under()) == (first, first)
        assert again.alerts.counts["policy-refused"] == 1

    run(story)
