"""What an operation was asked, checked: a person may have typed it, or a program that got it wrong."""

import uuid
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from relay.control.operation import OperationRefused
from relay.model.delivery import State
from relay.store.search import Search

Params = TypeVar("Params", bound=BaseModel)
PAGE = 100
MAX_PAGE = 1000


class Strict(BaseModel):
    """Frozen; an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Filters(Strict):
    """Which deliveries. `ids` are `MESSAGE` or `MESSAGE/ORDINAL`, message ids in hex."""

    ids: list[str] = Field(default=[], max_length=1000)
    sender: str | None = Field(default=None, max_length=400)
    recipient: str | None = Field(default=None, max_length=400)
    client: str | None = Field(default=None, max_length=100)
    message_id: str | None = Field(default=None, max_length=1000)
    rule: str | None = Field(default=None, max_length=100)
    since_us: int | None = None
    until_us: int | None = None

    @property
    def empty(self) -> bool:
        """Whether everything fits."""
        return self == type(self)()

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
        return uuid.UUID(message), int(ordinal) if mark else None
    except ValueError:
        raise OperationRefused(f"'{text}' is no message id (MESSAGE or MESSAGE/NUMBER)") from None


class Listing(Strict):
    """A page of a list. `after` is what the page before gave as `next`."""

    filters: Filters = Filters()
    states: list[str] = []
    after: list[Any] | None = None
    limit: int = Field(default=PAGE, ge=1, le=MAX_PAGE)


class Bulk(Strict):
    """A change to many. `everything` must be said where no filter is."""

    filters: Filters = Filters()
    everything: bool = False
    dry_run: bool = False
    reason: str = ""


def parsed(model: type[Params], params: dict[str, Any]) -> Params:
    """Raises OperationRefused that names what is wrong."""
    try:
        return model.model_validate(params)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise OperationRefused(f"{where}: {first['msg'].lower()}") from None


def key_of(after: list[Any] | None) -> tuple[uuid.UUID, int] | None:
    """The key of a page from its JSON form. Raises OperationRefused."""
    if after is None:
        return None
    try:
        return uuid.UUID(after[0]), int(after[1])
    except (ValueError, IndexError, TypeError, AttributeError):
        raise OperationRefused("after: not what the page before gave") from None
