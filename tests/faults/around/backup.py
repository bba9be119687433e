"""A store that is put back as it was before: what heard 250 since then is gone from it, and lies in the spool."""

import shutil
from pathlib import Path

from relay.model.delivery import State
from relay.store.engine import sqlite_path
from tests.faults.around.play import Fault, prove
from tests.faults.client import SMALL, Transaction
from tests.faults.stand import CLERKS, HELD, Stand
from tests.stories.house import until


def _files(at: Stand) -> list[Path]:
    database = sqlite_path(at.store)
    assert database is not None
    return [database.with_name(database.name + suffix) for suffix in ("", "-wal", "-shm")]


async def restored(at: Stand) -> list[Transaction]:
    """Mail is delivered and held, and then the store is that of before (SQLite, the relay is down): it starts with the brake on, and says
    why. Nothing leaves; the bodies bring back what was lost, and a person looks at each. Then two people let go."""
    known = await at.send([CLERKS[0]], SMALL)
    await at.settle()
    assert await at.house.stop() == 0
    kept = at.house.folder / "kept"
    kept.mkdir(exist_ok=True)
    present = [path for path in _files(at) if path.exists()]
    for path in present:
        shutil.copy(path, kept)
    await at.start()
    lost = [await at.send([CLERKS[0], HELD], SMALL) for _ in range(2)]
    await at.settle()
    prove(all(one.heard_250 for one in (known, *lost)), "they were not accepted")
    assert await at.house.stop() == 0
    for path in _files(at):
        path.unlink(missing_ok=True)
    for path in present:
        shutil.copy(kept / path.name, path)
    before, left = len(at.house.log()), len(at.hop.copies)
    await at.start()
    await until(lambda: '"store-behind"' in at.house.log()[before:], "a relay that sees that its store went back")
    prove([at.rows_of(one) for one in lost] == [[], []], "the store still has them")
    under_brake = await at.send([CLERKS[0]], SMALL)
    prove(under_brake.heard_250, f"it heard {under_brake.reply}")
    await until(lambda: [row.state for row in at.rows_of(under_brake)] == ["held"], "what came under the brake to be held")
    assert len(at.hop.copies) == left, "something left under the brake"
    assert await at.house.stop() == 0
    said = await at.house.sluis("store", "rebuild", "--reason", "a backup was restored")
    assert said.code == 0, said.err
    await at.start()
    for one in lost:
        assert one.id is not None
        assert [(row.state, row.possible_duplicates) for row in at.rows_of(one)] == [("quarantined", 1)] * 2
        at.causes.harmed[one.id] = State.QUARANTINED
    await _let_go(at)
    await until(lambda: [row.state for row in at.rows_of(under_brake)] == ["delivered"], "what the brake held to leave")
    return [known, *lost, under_brake]


async def _let_go(at: Stand) -> None:
    """Of the brake: two people."""
    asked = (await at.house.sluis("brake", "release", "--reason", "looked at what was delivered twice", "--json")).json
    answer = await at.house.ask_as_nobody("request.approve", request=asked["request"], reason="seen as well")
    assert "error" not in answer, answer


BACKUP: dict[str, Fault] = {"backup restored": restored}
