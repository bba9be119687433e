"""What an operation was asked, checked: a person may have typed it, or a program that got it wrong."""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from relay.model.delivery import State
from relay.model.errors import OperationRefused
from relay.model.text import printable
from relay.store.search import Search

Params = TypeVar("Params", bound=BaseModel)
PAGE = 100
MAX_PAGE = 1000
MAX_IDS = 400  # each is a term of one query, and SQLite nests at most 1000 (SQLite documentation, Limits)
MAX_ORDINAL = 2**31 - 1


def _plain(text: str) -> str:
    if printable(text, len(text)) != text:
        raise ValueError("must be printable text")
    return text


Text = Annotated[str, AfterValidator(_plain)]
"""What a database and a terminal can hold: no controls, no lone surrogates."""

Microseconds = Annotated[int, Field(ge=-(10**17), lt=2**48 * 1000)]
"""Since 1970 UTC; the upper end is that of an id (RFC 9562 §5.7)."""


class Strict(BaseModel):
    """Frozen; an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Filters(Strict):
    """Which deliveries. `ids` are `MESSAGE` or `MESSAGE/ORDINAL`, message ids in hex."""

    ids: list[Annotated[Text, Field(max_length=100)]] = Field(default=[], max_length=MAX_IDS)
    sender: Text | None = Field(default=None, max_length=400)
    recipient: Text | None = Field(default=None, max_length=400)
    client: Text | None = Field(default=None, max_length=100)
    message_id: Text | None = Field(default=None, max_length=1000)
    rule: Text | None = Field(default=None, max_length=100)
    since_us: Microseconds | None = None
    until_us: Microseconds | None = None

    @property
    def empty(self) -> bool:
        """Whether everything fits."""
        return self == type(self)()

    @property
    def only_ids(self) -> bool:
        """Whether nothing but ids narrows it down."""
        return self == type(self)(ids=self.ids)

    def missing(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """The ids, as they were given, that none of these rows bears."""
        found = {(row["id"], row["ordinal"]) for row in rows}
        messages = {identity for identity, _ in found}
        asked = [(text, *_identity(text)) for text in self.ids]
        return [
            text
            for text, message, ordinal in asked
            if (message.hex not in messages if ordinal is None else (message.hex, ordinal) not in found)
        ]

    def told(self) -> dict[str, Any]:
        """For an event: what was given, times as text (RFC 8785 §3.2.2.3 knows no integers beyond 2^53)."""
        given = self.model_dump(exclude_defaults=True)
        return {name: str(value) if isinstance(value, int) else value for name, value in given.items()}

    def search(self, states: tuple[State, ...]) -> Search:
        """Raises OperationRefused for an id that is none."""
        return Search(
            ids=tuple(_identity(text) for text in self.ids),
            states=states,
            sender=self.sender,
            recipient=self.recipient,
            client=self.client,
            message_id=self.message_id,
            rule=self.rule,
            since_us=self.since_us,
            until_us=self.until_us,
        )


def _identity(text: str) -> tuple[uuid.UUID, int | None]:
    message, mark, ordinal = text.partition("/")
    try:
        return uuid.UUID(message), _ordinal(ordinal) if mark else None
    except ValueError:
        raise OperationRefused(f"'{text}' is no message id (MESSAGE or MESSAGE/NUMBER)") from None


def _ordinal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MAX_ORDINAL:
        raise ValueError("no ordinal")
    return int(text)


class Listing(Strict):
    """A page of a list. `after` is what the page before gave as `next`."""

    filters: Filters = Filters()
    states: list[str] = []
    after: list[Any] | None = None
    limit: int = Field(default=PAGE, ge=1, le=MAX_PAGE)
    reason: str = Field(default="", max_length=1000)


class Bulk(Strict):
    """A change to many. `everything` must be said where no filter is."""

    filters: Filters = Filters()
    everything: bool = False
    dry_run: bool = False
    reason: str = ""


class Nothing(Strict):
    """No parameter at all."""


class Reasoned(Strict):
    """Why; `relay.control.operation.perform` has checked it."""

    reason: str


def parsed(model: type[Params], params: dict[str, Any]) -> Params:
    """Raises OperationRefused that names what is wrong."""
    try:
        return model.model_validate(params)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = printable(".".join(str(part) for part in first["loc"]), 100)
        what = first["msg"].removeprefix("Value error, ")
        raise OperationRefused(f"{where}: {what[:1].lower()}{what[1:]}") from None


def key_of(after: list[Any] | None) -> tuple[uuid.UUID, int] | None:
    """The key of a page from its JSON form. Raises OperationRefused."""
    if after is None:
        return None
    try:
        return uuid.UUID(after[0]), _ordinal(str(after[1]))
    except (ValueError, IndexError, TypeError, AttributeError):
        raise OperationRefused("after: not what the page before gave") from None
