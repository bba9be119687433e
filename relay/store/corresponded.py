"""Whether a message of a sender was delivered to a recipient before, by what is still in the record; and how many first ones a day had.

Bounded: of a sender and a recipient who both have more than LOOKED_AT messages that don't meet among the newest, it is not known.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.along import FIRST, LAST
from relay.store.tables import Counter

COUNTER = Counter.__table__  # type: ignore[attr-defined]
LOOKED_AT = 1000
FUNCTION = "sluis_corresponded"
SCOPE = "first-times-day"

_ASK_SQLITE = text("""\
SELECT CASE
WHEN EXISTS (
  SELECT 1 FROM (SELECT message_id, state FROM delivery WHERE recipient = :recipient ORDER BY message_id DESC LIMIT :most) AS to_them
  JOIN message ON message.id = to_them.message_id WHERE to_them.state = 'delivered' AND message.sender = :sender) THEN 1
WHEN (SELECT count(*) FROM (SELECT 1 FROM delivery WHERE recipient = :recipient LIMIT :most) AS to_them) < :most THEN 0
WHEN EXISTS (
  SELECT 1 FROM (SELECT id FROM message WHERE sender = :sender ORDER BY id DESC LIMIT :most) AS by_them
  JOIN delivery ON delivery.message_id = by_them.id WHERE delivery.recipient = :recipient AND delivery.state = 'delivered') THEN 1
WHEN (SELECT count(*) FROM (SELECT 1 FROM message WHERE sender = :sender LIMIT :most) AS by_them) < :most THEN 0
END""")
"""The side that has fewer messages answers; each side is looked at by its index."""
_ASK_POSTGRESQL = text(f"SELECT {FUNCTION}(:sender, :recipient, :most)")

_BODY = f"""
DECLARE
  found uuid[];
  looked_at integer;
  oldest uuid;
  newest uuid;
BEGIN
  most := least(most, {LOOKED_AT});
  SELECT array_agg(message_id) FILTER (WHERE state = 'delivered'), count(*) INTO found, looked_at FROM (
    SELECT message_id, state FROM delivery
    WHERE (recipient, message_id) >= (recipient_key, '{FIRST}'::uuid) AND (recipient, message_id) <= (recipient_key, '{LAST}'::uuid)
    ORDER BY recipient DESC, message_id DESC LIMIT most) AS to_them;
  newest := found[1];
  oldest := found[cardinality(found)];
  IF newest IS NOT NULL THEN IF EXISTS (
    SELECT FROM unnest(found) AS to_them (id) CROSS JOIN LATERAL (
      SELECT FROM message WHERE message.id = to_them.id AND message.id >= oldest AND message.id <= newest AND sender = sender_key
      OFFSET 0) AS by_them)
  THEN RETURN 1; END IF; END IF;
  IF looked_at < most THEN RETURN 0; END IF;
  SELECT array_agg(id), count(*) INTO found, looked_at FROM (
    SELECT id FROM message
    WHERE (sender, id) >= (sender_key, '{FIRST}'::uuid) AND (sender, id) <= (sender_key, '{LAST}'::uuid)
    ORDER BY sender DESC, id DESC LIMIT most) AS by_them;
  newest := found[1];
  oldest := found[cardinality(found)];
  IF newest IS NOT NULL THEN IF EXISTS (
    SELECT FROM unnest(found) AS by_them (id) CROSS JOIN LATERAL (
      SELECT FROM delivery WHERE delivery.message_id = by_them.id AND delivery.message_id >= oldest AND delivery.message_id <= newest
      AND recipient = recipient_key AND state = 'delivered'
      OFFSET 0) AS to_them)
  THEN RETURN 1; END IF; END IF;
  IF looked_at < most THEN RETURN 0; END IF;
  RETURN NULL;
END
"""  # noqa: S608 - our bounds
"""The same question, in statements that are planned once for a connection, and each only when it is come to. In one statement of the
language SQL it was planned whenever it was asked: eight times over every month of the store, 20 ms for each message.

Pairs are found in one index only (relay/store/along.py). OFFSET 0 keeps a look by key from becoming a join that reads all of a sender's,
and the bounds leave out the months that have none of these."""

_SETTINGS = (
    # Planned with values, it would be planned each time.
    "plan_cache_mode = force_generic_plan",
    # A plan is kept while the months that it is for fill up, so that no way through a whole one may ever look cheap.
    "enable_seqscan = off",
    "enable_bitmapscan = off",
    "enable_sort = off",
    # One that looks dear for its many months would be compiled whenever it is run.
    "jit = off",
)


def create_function(connection: Connection) -> None:
    """On PostgreSQL the owner of the tables answers, for roles that may read neither: they learn yes or no, of a pair that they know.
    Whoever asks can say how much is looked at, and no more than we do: the database pays for it. What was there before is replaced, and
    keeps who may call it."""
    if connection.dialect.name != "postgresql":
        return
    schema = connection.dialect.identifier_preparer.quote_identifier(connection.execute(select(func.current_schema())).scalar_one())
    # With our tables first, so that no temporary table of whoever asks stands for one (PostgreSQL, CREATE FUNCTION).
    settings = " ".join(f"SET {setting}" for setting in (f"search_path = {schema}, pg_temp", *_SETTINGS))
    connection.exec_driver_sql(
        f"CREATE OR REPLACE FUNCTION {FUNCTION}(sender_key text, recipient_key text, most integer) RETURNS integer "
        f"LANGUAGE plpgsql STABLE SECURITY DEFINER {settings} AS $question${_BODY}$question$"
    )
    connection.execute(text(f"REVOKE ALL ON FUNCTION {FUNCTION}(text, text, integer) FROM PUBLIC"))


def first_times(connection: Connection, sender: str, recipients: Sequence[str], looked_at: int = LOOKED_AT) -> tuple[str, ...] | None:
    """Those of `recipients` to whom nothing of `sender` was ever delivered; None where that is not known of one. All are address keys."""
    found = []
    ask = _ASK_SQLITE if connection.dialect.name == "sqlite" else _ASK_POSTGRESQL
    for recipient in recipients:
        answer = connection.execute(ask, {"sender": sender, "recipient": recipient, "most": looked_at}).scalar()
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
