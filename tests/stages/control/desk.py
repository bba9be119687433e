"""The operations over a store, without a relay: who asks is said by the test, and messages are put in as the record would put them.

async with desk(tmp_path, database) as at:
    message = at.put(State.QUARANTINED, findings=[MACRO], rules=[rule("macros", "quarantine")])
    await at.ask("anna", "quarantine.release", reason="seen", filters={"ids": [message.hex]})
"""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, update

from relay.cli.operations import OPERATIONS
from relay.control.actor import Actor, Role
from relay.control.operation import Services, perform
from relay.model.address import key_domain
from relay.model.decision import Epoch
from relay.model.delivery import QUEUED, State
from relay.model.envelope import Recipient, Sender
from relay.model.errors import OperationRefused
from relay.model.features import Header, Inspection
from relay.model.finding import Finding, Kind
from relay.model.ids import new_id
from relay.model.ports import SystemClock
from relay.phases import state as phase_state
from relay.policy.load import build
from relay.policy.models import Policy
from relay.settings.models import Control, Settings, Spool, Store
from relay.sign.body_hash import RelaxedBodyHash
from relay.store import states
from relay.store.codec import peer_to_json, recipient_to_json, sender_to_json
from relay.store.engine import open_engine
from relay.store.journal import Journal
from relay.store.reader import Reader
from relay.store.search import Search, find
from relay.store.spool.folder import FolderSpool as SpoolFolder
from relay.store.spool.keys import new_keypair
from relay.store.tables import Delivery, EventRecord, Kept, Message, Queue
from tests.fakes.custody import PEER, mailbox
from tests.stages.policy.texts import FILES

MESSAGE = Message.__table__  # type: ignore[attr-defined]
DELIVERY = Delivery.__table__  # type: ignore[attr-defined]
KEPT = Kept.__table__  # type: ignore[attr-defined]
QUEUE = Queue.__table__  # type: ignore[attr-defined]
RECORD = EventRecord.__table__  # type: ignore[attr-defined]

PHASES = ("closed", "partners", "open")
MACRO = Finding(Kind.RULE, "yara", "office-macro", "1.2", "AutoOpen")
VIRUS = Finding(Kind.MALWARE, "clamd", "Eicar-Test-Signature", "1.2")
EVERYTHING = frozenset(Role)


def rule(name: str, disposition: str, *, final: bool = False) -> dict[str, Any]:
    """A rule that matched, as a delivery keeps it."""
    return {"rule": name, "disposition": disposition, "because": f"because of {name}", "final": final, "waived_by": None}


MACROS = rule("macros", "quarantine")
MALWARE = rule("malware", "quarantine", final=True)


def policy_of(phases: Sequence[str]) -> Policy:
    """A small policy with these phases, from closed to open."""
    return build({**FILES, "organisation.yaml": FILES["organisation.yaml"].replace("[closed, open]", f"[{', '.join(phases)}]")})


@dataclass
class Desk:
    """`policy` may be replaced, as a reload would. `changes` counts how often an operation said that something was changed."""

    settings: Settings
    engine: Engine
    journal: Journal
    reader: Reader
    policy: Policy
    roles: dict[str, frozenset[Role]] = field(default_factory=dict)
    changes: int = 0
    services: Services = field(init=False)

    def __post_init__(self) -> None:
        spool = SpoolFolder(self.settings.spool, RelaxedBodyHash)
        self.services = Services(
            self.settings, self.journal, self.reader, spool, SystemClock(), lambda: (self.policy, self.epoch), self._changed
        )

    @property
    def epoch(self) -> Epoch:
        """As a process would see it that has just looked."""
        found = self.reader.read_now(phase_state.read)
        phases = self.policy.organisation.phases
        return Epoch(self.policy.digest, found.phase if found.phase in phases else phases[0], found.brake)

    async def _changed(self) -> None:
        self.changes += 1

    async def ask(self, who: str, operation: str, **params: Any) -> dict[str, Any]:
        """The answer to `who`, who has every role unless `roles` says otherwise. What comes back must be JSON."""
        actor = Actor(1000, f"unix:{who} (1000)", self.roles.get(who, EVERYTHING))
        answer = await perform(OPERATIONS[operation], self.services, actor, params)
        return dict(json.loads(json.dumps(answer)))

    async def refused(self, who: str, operation: str, **params: Any) -> str:
        """The text of a refusal."""
        with pytest.raises(OperationRefused) as caught:
            await self.ask(who, operation, **params)
        return str(caught.value)

    def put(
        self,
        *wanted: State,
        findings: Sequence[Finding] = (),
        rules: Sequence[dict[str, Any]] = (),
        sender: str = "jan@example.nl",
        subject: str = "Hearing",
        recipients: Sequence[str] = (),
        spool_object: str | None = None,
        digest: str = "0" * 64,
        size: int = 1000,
    ) -> Any:
        """A message with a recipient in each of these states, and gives its id. What is queued has a row in the queue, due in an hour."""
        identity, now_us = new_id(), SystemClock().now_us()
        inspection = Inspection(Header(from_addresses=(sender,), subject=subject), findings=tuple(findings), answered=("yara",))
        names = list(recipients) or [f"clerk{number}@court.example" for number in range(len(wanted))]
        path = Sender(mailbox(sender) if sender else None)

        def work(connection: Any) -> None:
            connection.execute(
                insert(MESSAGE).values(
                    id=identity,
                    received_us=now_us,
                    direction="outbound",
                    client="exchange",
                    peer=peer_to_json(PEER),
                    sender=sender,
                    sender_domain=key_domain(sender),
                    envelope=sender_to_json(path),
                    header_message_id=f"<{identity.hex}@example.nl>",
                    size=size,
                    digest=digest,
                    body_hash="",
                    spool_object=spool_object,
                    vouched=True,
                    authorised=True,
                    inspection=inspection.to_json(),
                    policy=self.policy.digest,
                    phase=self.epoch.phase,
                    reply="250",
                    commitment=new_id().hex * 2,
                    recipients=len(wanted),
                )
            )
            for ordinal, (name, state) in enumerate(zip(names, wanted, strict=True)):
                connection.execute(
                    insert(DELIVERY).values(
                        message_id=identity,
                        ordinal=ordinal,
                        recipient=name,
                        recipient_domain=key_domain(name),
                        envelope=recipient_to_json(Recipient(mailbox(name))),
                        state=state.value,
                        disposition="quarantine" if state is State.QUARANTINED else "hold" if state is State.HELD else "deliver",
                        rules=list(rules),
                        because="a test",
                        route="out",
                        policy=self.policy.digest,
                        phase=self.epoch.phase,
                        changed_us=now_us,
                    )
                )
                if state in QUEUED:
                    connection.execute(
                        insert(QUEUE).values(
                            message_id=identity,
                            ordinal=ordinal,
                            route="out",
                            policy=self.policy.digest,
                            phase=self.epoch.phase,
                            next_us=now_us + 3_600_000_000,
                            expires_us=now_us + 432_000_000_000,
                        )
                    )
            states.count_new(connection, wanted)

        self.journal.submit_now(work)
        return identity

    def evidence(self, identity: Any) -> None:
        """A rule keeps this message, as the commit of its decision would have it."""

        def work(connection: Any) -> None:
            connection.execute(update(DELIVERY).where(DELIVERY.c.message_id == identity).values(effects={"keep": True}))
            connection.execute(insert(KEPT).values(message_id=identity, actor="policy (evidence)", reason="a test", kept_us=1))

        self.journal.submit_now(work)

    async def keep(self, raw: bytes, *wanted: State) -> Any:
        """A message whose body is in the spool; gives its id."""
        writer = self.services.spool.create(new_id())
        writer.write(raw)
        body = writer.finish(normalised=False)
        await self.services.spool.seal(body, {})
        return self.put(*wanted, spool_object=body.object, digest=body.digest, size=body.size)

    def inspected_again(self, identity: Any, findings: Sequence[Finding], rules: Sequence[dict[str, Any]]) -> None:
        """What a later inspection found and decided, for every recipient."""

        def work(connection: Any) -> None:
            row = connection.execute(select(MESSAGE.c.inspection).where(MESSAGE.c.id == identity)).scalar_one()
            inspection = Inspection(Inspection.from_json(row).header, findings=tuple(findings)).to_json()
            connection.execute(update(MESSAGE).where(MESSAGE.c.id == identity).values(inspection=inspection))
            connection.execute(update(DELIVERY).where(DELIVERY.c.message_id == identity).values(rules=list(rules)))

        self.journal.submit_now(work)

    def rows(self, identity: Any = None) -> list[Any]:
        """The deliveries of a message, or all."""
        search = Search(ids=((identity, None),) if identity else ())
        return list(self.reader.read_now(lambda connection: find(connection, search, None, 10_000)))

    def states(self, identity: Any = None) -> list[str]:
        """Their states."""
        return [row.state for row in self.rows(identity)]

    def queue(self, identity: Any) -> list[Any]:
        """The rows of the queue."""
        query = select(QUEUE).where(QUEUE.c.message_id == identity).order_by(QUEUE.c.ordinal)
        return list(self.reader.read_now(lambda connection: connection.execute(query).all()))

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The events of these kinds, or all, oldest first; not those that were erased."""
        query = select(RECORD.c.canonical).order_by(RECORD.c.event_id)
        told = [json.loads(text) for text in self.reader.read_now(lambda connection: connection.execute(query).scalars().all()) if text]
        return [event for event in told if not kinds or event["kind"] in kinds]

    def write(self, work: Callable[[Any], Any]) -> None:
        """Changes the store behind everybody's back."""
        self.journal.submit_now(work)


@asynccontextmanager
async def desk(folder: Path, store: Store, *, two_people: bool = True, phases: Sequence[str] = PHASES) -> AsyncIterator[Desk]:
    """At the end the balance must hold, and every event must be what was committed to."""
    new_keypair(folder / "keys" / "spool.pub", folder / "keys" / "spool")
    settings = Settings(
        hostname="relay.example.nl",
        store=store,
        spool=Spool(folder=folder / "spool", public_key=folder / "keys" / "spool.pub", private_keys=folder / "keys" / "spool"),
        control=Control(socket=folder / "control.sock", two_people=two_people),
    )
    engine = open_engine(store)
    journal, reader = Journal(engine), Reader(engine)
    journal.start()
    try:
        at = Desk(settings, engine, journal, reader, policy_of(phases))
        yield at
        held = reader.read_now(states.balance)
        assert held.holds, held
        assert (await at.ask("auditor", "audit.check"))["broken"] == []
    finally:
        at.services.spool.close()
        journal.close()
        reader.close()
        engine.dispose()
