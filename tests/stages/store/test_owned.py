"""Which bodies the sweep leaves alone, in a folder and in an object store."""

from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import Connection, update

from relay.model.delivery import State
from relay.model.ids import id_time_us, new_id
from relay.store.high_water import Gap
from relay.store.owned import MESSAGE, owned
from tests.servers.recording import Recording


@pytest.mark.parametrize("pack", ["", "01936f3cc7a07c3e8a1b2c3d4e5f6071/"], ids=["alone", "in a pack"])
def test_a_body_is_owned_by_the_row_that_names_it_or_by_a_time_of_which_rows_are_lost(recording: Recording, pack: str) -> None:
    kept, erased = (recording.accept(State.READY).decided.inspected.received.id for _ in range(2))
    for identity, name in ((kept, f"{pack}{kept.hex}"), (erased, None)):
        recording.write(partial(_name, identity=identity, name=name))
    lost = new_id()
    names = [f"{pack}{identity.hex}" for identity in (kept, erased, lost)] + ["not a name of ours"]
    assert recording.reader.read_now(lambda connection: owned(connection, names, [])) == {names[0]}
    gap = Gap(id_time_us(lost), id_time_us(lost))
    assert recording.reader.read_now(lambda connection: owned(connection, names[2:], [gap])) == {names[2]}


def test_a_row_that_names_another_place_does_not_own_the_copy(recording: Recording) -> None:
    identity = recording.accept(State.READY).decided.inspected.received.id
    copy = f"{new_id().hex}/{identity.hex}"
    assert copy not in recording.reader.read_now(lambda connection: owned(connection, [copy], []))


def _name(connection: Connection, identity: UUID, name: str | None) -> None:
    connection.execute(update(MESSAGE).where(MESSAGE.c.id == identity).values(spool_object=name))
