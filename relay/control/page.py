"""One page of deliveries as an answer."""

from typing import Any

from relay.control.operation import Services
from relay.control.params import Listing, key_of
from relay.model.delivery import State
from relay.store.search import find, shown


async def page_of(services: Services, listing: Listing, states: tuple[State, ...]) -> dict[str, Any]:
    """`rows`, and `next` where there are more."""
    search, after = listing.filters.search(states), key_of(listing.after)
    rows = await services.reader.read(lambda connection: find(connection, search, after, listing.limit + 1))
    page = rows[: listing.limit]
    following = [page[-1].message_id.hex, page[-1].ordinal] if len(rows) > listing.limit else None
    return {"rows": [shown(row) for row in page], "next": following}
