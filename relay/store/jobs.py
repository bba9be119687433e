"""Work that one process does for all machines: who does it, by a row with an end, so that another goes on where the first one stops."""

from sqlalchemy import Connection, insert, select, update

from relay.store.tables import Control

CONTROL = Control.__table__  # type: ignore[attr-defined]
FAR = 4
"""Times a turn: machines differ in their clocks, and for a while in their settings, by less than that."""


def take(connection: Connection, job: str, owner: str, now_us: int, for_us: int) -> bool:
    """Whether `owner` does this job from now on, for `for_us` microseconds or until it takes it again. It is whoever did it last, unless
    that one's time is over, or lies so far ahead that a clock must have been wrong. What is done under it must be harmless when two do it:
    whoever stood still for a while goes on with it."""
    name = f"job {job}"
    value = {"owner": owner, "until_us": now_us + for_us}
    row = connection.execute(select(CONTROL.c.value, CONTROL.c.epoch).where(CONTROL.c.name == name)).first()
    if row is None:
        connection.execute(insert(CONTROL).values(name=name, value=value, epoch=1))
        return True
    if row.value["owner"] != owner and now_us < row.value["until_us"] <= now_us + FAR * for_us:
        return False
    where = (CONTROL.c.name == name) & (CONTROL.c.epoch == row.epoch)
    return connection.execute(update(CONTROL).where(where).values(value=value, epoch=row.epoch + 1)).rowcount == 1


def release(connection: Connection, job: str, owner: str, now_us: int) -> None:
    """Ends the turn of `owner`, if it is still its own: whoever asks next has it."""
    row = connection.execute(select(CONTROL.c.value, CONTROL.c.epoch).where(CONTROL.c.name == f"job {job}")).first()
    if row is not None and row.value["owner"] == owner:
        where = (CONTROL.c.name == f"job {job}") & (CONTROL.c.epoch == row.epoch)
        connection.execute(update(CONTROL).where(where).values(value={"owner": owner, "until_us": now_us}, epoch=row.epoch + 1))
