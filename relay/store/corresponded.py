"""Whether a message of a sender was delivered to a recipient before, by what is still in the record; and how many first ones a day had.

Bounded: of a sender and a recipient who both have more than LOOKED_AT messages that don't meet among the newest, it is not known.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.tables import Counter

COUNTER = Counter.__table__  # type: ignore[attr-defined]
LOOKED_AT = 1000
FUNCTION = "sluis_corresponded"
SCOPE = "first-times-day"

_QUESTION = """\
CASE
WHEN EXISTS (
  SELECT 1 FROM (SELECT message_id, state FROM delivery WHERE recipient = @TO@ ORDER BY message_id DESC LIMIT @MOST@) AS to_them
  JOIN message ON message.id = to_them.message_id WHERE to_them.state = 'delivered' AND message.sender = @FROM@) THEN 1
WHEN (SELECT count(*) FROM (SELECT 1 FROM delivery WHERE recipient = @TO@ LIMIT @MOST@) AS to_them) < @MOST@ THEN 0
WHEN EXISTS (
  SELECT 1 FROM (SELECT id FROM message WHERE sender = @FROM@ ORDER BY id DESC LIMIT @MOST@) AS by_them
  JOIN delivery ON delivery.message_id = by_them.id WHERE delivery.recipient = @TO@ AND delivery.state = 'delivered') THEN 1
WHEN (SELECT count(*) FROM (SELECT 1 FROM message WHERE sender = @FROM@ LIMIT @MOST@) AS by_them) < @MOST@ THEN 0
END"""
"""The side that has fewer messages answers; each side is looked at by its index."""


def _asked(sender: str, recipient: str, most: str) -> str:
    return _QUESTION.replace("@FROM@", sender).replace("@TO@", recipient).replace("@MOST@", most)


_ASK = {
    "sqlite": text(f"SELECT {_asked(':sender', ':recipient', ':most')}"),
    "postgresql": text(f"SELECT {FUNCTION}(:sender, :recipient, :most)"),
}


def create_function(connection: Connection) -> None:
    """On PostgreSQL the owner of the tables answers, for roles that may read neither: they learn yes or no, of a pair that they know."""
    if connection.dialect.name != "postgresql":
        return
    schema = connection.dialect.identifier_preparer.quote_identifier(connection.execute(select(func.current_schema())).scalar_one())
    # Whoever asks can say how much is looked at, and no more than we do: it is paid for by the database.
    body = _asked("sender_key", "recipient_key", f"least(most, {LOOKED_AT})")
    connection.execute(
        text(
            f"CREATE FUNCTION {FUNCTION}(sender_key text, recipient_key text, most integer) RETURNS integer "
            # With our tables first, so that no temporary table of whoever asks stands for one (PostgreSQL, CREATE FUNCTION).
            f"LANGUAGE sql STABLE SECURITY DEFINER SET search_path = {schema}, pg_temp AS $question$ SELECT {body} $question$"
        )
    )
    connection.execute(text(f"REVOKE ALL ON FUNCTION {FUNCTION}(text, text, integer) FROM PUBLIC"))


def first_times(connection: Connection, sender: str, recipients: Sequence[str], looked_at: int = LOOKED_AT) -> tuple[str, ...] | None:
    """Those of `recipients` to whom nothing of `sender` was ever delivered; None where that is not known of one. All are address keys."""
    found = []
    for recipient in recipients:
        answer = connection.execute(_ASK[connection.dialect.name], {"sender": sender, "recipient": recipient, "most": looked_at}).scalar()
        if answer is None:
            return None
        if not answer:
            found.append(recipient)
    return tuple(found)


def asked(connection: Connection, sender: str, unsure: Sequence[str], day_us: int) -> tuple[tuple[str, ...] | None, int]:
    """Both answers, in one read: the first ones among `unsure`, and how many the day that began then has had before them."""
    found = first_times(connection, sender, unsure)
    return found, 0 if found is None else counted(connection, sender, day_us)


def counted(connection: Connection, sender: str, day_us: int) -> int:
    """How many first ones the day that began then has had."""
    return connection.execute(select(COUNTER.c.count).where(_row(sender, day_us))).scalar() or 0


def count(connection: Connection, sender: str, day_us: int, amount: int) -> int:
    """Counts `amount` more and gives how many there are now."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = {"scope": SCOPE, "key": sender, "window_us": day_us, "count": 0}
    connection.execute(insert(COUNTER).values(row).on_conflict_do_nothing())
    connection.execute(update(COUNTER).where(_row(sender, day_us)).values(count=COUNTER.c.count + amount))
    return counted(connection, sender, day_us)


def _row(sender: str, day_us: int) -> ColumnElement[bool]:
    return and_(COUNTER.c.scope == SCOPE, COUNTER.c.key == sender, COUNTER.c.window_us == day_us)
