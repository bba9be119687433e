"""One page of deliveries as an answer."""

from functools import partial
from typing import Any

from relay.audit.event import write
from relay.control.actor import Actor
from relay.control.operation import Services
from relay.control.params import Listing, key_of
from relay.control.person import person_event
from relay.model.delivery import State
from relay.model.errors import OperationRefused
from relay.store.search import page, shown


async def page_of(services: Services, listing: Listing, states: tuple[State, ...]) -> dict[str, Any]:
    """`rows`, and `next` where there may be more, even where there are few rows or none: a page takes a bounded time."""
    search, after = listing.filters.search(states), key_of(listing.after)
    found = await services.reader.read(partial(page, search=search, after=after, limit=listing.limit + 1))
    rows, following = found.rows, found.next
    if len(rows) > listing.limit:
        rows = rows[: listing.limit]
        following = (rows[-1].message_id, rows[-1].ordinal)
    return {"rows": [shown(row) for row in rows], "next": [following[0].hex, following[1]] if following else None}


async def work_list(services: Services, actor: Actor, name: str, listing: Listing, states: tuple[State, ...]) -> dict[str, Any]:
    """A page of what waits, for those whose daily work it is: without subjects, and without a reason, unless somebody's mail is looked for.
    That it was looked at is an event. Raises OperationRefused."""
    filters = listing.filters
    if (filters.sender or filters.recipient or filters.message_id) and not listing.reason.strip():
        raise OperationRefused("to look for somebody's mail a reason is needed (--reason)")
    answer = await page_of(services, listing, states)
    for row in answer["rows"]:
        del row["subject"], row["message_id"]
    event = person_event(
        services,
        actor,
        "list-read",
        object_=name,
        result=f"{len(answer['rows'])} rows",
        reason=listing.reason or "work list",
        details={"filters": filters.told()},
    )
    await services.journal.submit(lambda connection: write(connection, [event]))
    return answer
