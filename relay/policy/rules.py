"""Rules and waivers: what follows where a condition holds, and what takes that away."""

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from relay.model.decision import Disposition
from relay.model.effects import Effects
from relay.policy.base import Name, Strict
from relay.policy.conditions import Condition
from relay.policy.effects import Headers, ToldAddress


def _told(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("what the sender is told is one line of printable text")
    return text


class Tell(Strict):
    """What the sender may read of the reason: nothing that helps somebody who wants to get past the rule."""

    nl: Annotated[str, Field(max_length=400), AfterValidator(_told)] = Field(description="in Dutch")
    en: Annotated[str, Field(max_length=400), AfterValidator(_told)] = Field(description="in English")


class Rule(Strict):
    """What follows applies to each recipient for whom `when` holds and `unless` does not."""

    name: Name = Field(description="its name in waivers and in the record")
    when: Condition = Field(default=Condition(), description="a condition; without it the rule always holds")
    unless: Condition | None = Field(default=None, description="a condition under which the rule does not hold")
    then: Literal["deliver", "hold", "quarantine", "reject"] = Field(description="`deliver`, `hold`, `quarantine` or `reject`")
    because: str = Field(min_length=1, description="the reason, for staff; a client never hears it")
    tell: Tell | None = Field(default=None, description="the reason in words that the sender may read, in two languages")
    route: Name | None = Field(default=None, description="the route, instead of the first that matches; with `deliver` only")
    keep: bool = Field(
        default=False, description="it is evidence: kept until somebody says otherwise, and never released; with `quarantine` or `reject`"
    )
    require_tls: bool = Field(default=False, description="it leaves over verified TLS only, whatever its route asks for")
    headers: Headers | None = Field(
        default=None, description="fields put in front of the message: `Comments`, `Keywords`, and all that begin with `X-Sluis-`"
    )
    notify: tuple[ToldAddress, ...] | None = Field(
        default=None, min_length=1, max_length=10, description="addresses of ours that are told once of each message that it matches"
    )
    final: bool = Field(default=False, description="no waiver takes it away")
    since: date | None = Field(default=None, description="the first day on which it counts, as `2030-01-31` (UTC)")
    until: date | None = Field(default=None, description="the last day on which it counts (UTC)")
    mode: Literal["enforce", "observe"] = Field(
        default="enforce",
        description="`observe` does nothing; record, metrics, `sluis policy replay` and `explain` tell what the rule would have done",
    )

    @property
    def disposition(self) -> Disposition:
        """`then` as the ordered value."""
        return Disposition[self.then.upper()]

    @property
    def effects(self) -> Effects:
        """What follows besides."""
        return Effects(
            keep=self.keep,
            require_tls=self.require_tls,
            fields=tuple(sorted((self.headers or {}).items())),
            notify=tuple(sorted((self.name, address) for address in self.notify or ())),
        )


class Waiver(Strict):
    """The one way to be milder: takes the named rules away where `when` surely holds, until its end. A waiver past its end takes nothing
    away; `sluis check` names it."""

    name: Name = Field(description="its name in the record")
    rules: tuple[Name, ...] = Field(min_length=1, description="the rules that it takes away; none that is final")
    when: Condition = Field(default=Condition(), description="a condition; without it the waiver always holds")
    owner: str = Field(min_length=1, description="who answers for it")
    reason: str = Field(min_length=1, description="why")
    until: date = Field(description="the last day, as `2030-01-31` (UTC)")
