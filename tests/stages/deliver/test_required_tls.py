"""A rule that asks for TLS: the strictest of route and rules holds, for the recipients that it is about."""

from dataclasses import replace
from pathlib import Path

import pytest

from relay.model.delivery import State
from relay.model.effects import Effects
from relay.model.message import Outcome, Signed
from relay.policy.models import Route, TlsLevel
from tests.fakes.custody import MemoryBody, claimed, stored
from tests.fakes.dns import FakeResolver
from tests.servers.certificates import issue, make_ca
from tests.servers.sink import Sink
from tests.stages.deliver.way_out import MESSAGE, PREFIX, deliver, deliverer, marked, route, run

TLS = Effects(require_tls=True)


async def with_tls(way: Route) -> Outcome:
    signed = Signed(replace(claimed(stored(MESSAGE)), effects=TLS), PREFIX)
    [outcome] = await deliverer(FakeResolver()).deliver(signed, way, lambda: MemoryBody(MESSAGE), marked)
    return outcome


@pytest.mark.parametrize("level", [TlsLevel.NONE, TlsLevel.OPPORTUNISTIC])
def test_in_the_clear_nothing_leaves_that_a_rule_wants_encrypted(level: TlsLevel) -> None:
    async def dialogue() -> None:
        async with Sink() as sink:
            outcome = await with_tls(route(sink, tls=level))
            assert (outcome.state, outcome.status[:3], sink.messages) == (State.READY, "4.7", [])

    run(dialogue())


def test_a_certificate_that_names_another_host_is_not_enough(tmp_path: Path) -> None:
    async def dialogue() -> None:
        ca = make_ca(tmp_path)
        async with Sink(certificate=issue(ca, ["other.example"], ["192.0.2.7"])) as sink:
            outcome = await with_tls(route(sink, tls=TlsLevel.ENCRYPTED, ca_file=str(ca.certificate)))
            assert (outcome.state, sink.messages) == (State.READY, [])

    run(dialogue())


def test_verified_tls_is_enough_on_a_route_that_asks_for_less(tmp_path: Path) -> None:
    async def dialogue() -> None:
        ca = make_ca(tmp_path)
        async with Sink(certificate=issue(ca, ["x.example"], ["127.0.0.1"])) as sink:
            outcome = await with_tls(route(sink, tls=TlsLevel.OPPORTUNISTIC, ca_file=str(ca.certificate)))
            assert outcome.state is State.DELIVERED
            assert outcome.tls.startswith("TLSv1.3")

    run(dialogue())


def test_mail_that_no_rule_wants_encrypted_does_not_wait_behind_mail_that_one_does() -> None:
    async def dialogue() -> None:
        async with Sink() as sink:
            way = route(sink, tls=TlsLevel.OPPORTUNISTIC)
            out = deliverer(FakeResolver())
            signed = Signed(replace(claimed(stored(MESSAGE)), effects=TLS), PREFIX)
            [strict] = await out.deliver(signed, way, lambda: MemoryBody(MESSAGE), marked)
            [ordinary] = await deliver(out, way)
            assert (strict.state, ordinary.state) == (State.READY, State.DELIVERED)

    run(dialogue())
