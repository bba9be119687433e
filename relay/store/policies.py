"""Every policy that was ever proposed or in force, and which one a policy folder held when it was last applied."""

from sqlalchemy import Connection, insert, select, update

from relay.store.tables import Control, PolicyVersion

CONTROL = Control.__table__  # type: ignore[attr-defined]
VERSION = PolicyVersion.__table__  # type: ignore[attr-defined]


def keep(connection: Connection, digest: str, files: dict[str, str], now_us: int) -> None:
    """Every policy that was ever proposed or in force stays readable."""
    if connection.execute(select(VERSION.c.digest).where(VERSION.c.digest == digest)).first() is None:
        connection.execute(insert(VERSION).values(digest=digest, files=files, first_us=now_us))


def files_of(connection: Connection, digest: str) -> dict[str, str] | None:
    """The files of a policy: relative path to text. None where the store has no such policy."""
    files: dict[str, str] | None = connection.execute(select(VERSION.c.files).where(VERSION.c.digest == digest)).scalar()
    return files


def digests_from(connection: Connection, start: str) -> list[str]:
    """The versions that the store keeps whose digest begins so (hex), two at most."""
    found = select(VERSION.c.digest).where(VERSION.c.digest.startswith(start, autoescape=True)).order_by(VERSION.c.digest)
    return list(connection.execute(found.limit(2)).scalars())


def last_seen(connection: Connection, folder: str) -> str | None:
    """The digest that `folder` held when its machine last looked; None where it never did."""
    value = connection.execute(select(CONTROL.c.value).where(CONTROL.c.name == _name(folder))).scalar()
    return str(value["digest"]) if value else None


def note_seen(connection: Connection, folder: str, digest: str) -> None:
    """Remembers what `folder` holds now."""
    seen = last_seen(connection, folder)
    if seen is None:
        connection.execute(insert(CONTROL).values(name=_name(folder), value={"digest": digest}, epoch=1))
    elif seen != digest:
        where = CONTROL.c.name == _name(folder)
        connection.execute(update(CONTROL).where(where).values(value={"digest": digest}, epoch=CONTROL.c.epoch + 1))


def _name(folder: str) -> str:
    return f"folder {folder}"
