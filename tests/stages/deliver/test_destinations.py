"""Where mail goes by DNS: seen from real sockets where hosts are reached, from the answers where they are not."""

import asyncio

import pytest

from relay.deliver.answer import HopFailed
from relay.deliver.connection import Host
from relay.deliver.destinations import Destinations, Ourselves
from relay.model.delivery import State
from relay.policy.models import Route, TlsLevel
from relay.settings.models import Listener
from tests.fakes.dns import FakeResolver
from tests.servers.sink import Behaviour, Sink
from tests.stages.deliver.way_out import deliver, deliverer, run

NOBODY = Ourselves(frozenset({"relay.example.nl"}), frozenset())


def hosts(resolver: FakeResolver, domain: str, ourselves: Ourselves = NOBODY, smart_host: str | None = None) -> list[Host]:
    way = Route(name="out", to=("*",), smart_host=smart_host)
    return asyncio.run(Destinations(resolver, ourselves).hosts(way, domain))


def failure(resolver: FakeResolver, domain: str, ourselves: Ourselves = NOBODY, smart_host: str | None = None) -> str:
    with pytest.raises(HopFailed) as caught:
        hosts(resolver, domain, ourselves, smart_host)
    return caught.value.answer.status


def mx_route(port: int, **changes: object) -> Route:
    return Route(**{"name": "out", "to": ("*",), "port": port, "tls": TlsLevel.NONE, **changes})


class TestExchangers:
    """RFC 5321 §5 and RFC 7505."""

    def test_the_lowest_preference_comes_first_and_all_addresses_count(self) -> None:
        resolver = FakeResolver(
            {"x.example": [(20, "b.x.example"), (10, "a.x.example")]},
            {"a.x.example": ["2001:db8::1", "192.0.2.1"], "b.x.example": ["192.0.2.2"]},
        )
        assert [host.address for host in hosts(resolver, "x.example")] == ["2001:db8::1", "192.0.2.1", "192.0.2.2"]

    def test_equals_are_taken_in_random_order(self) -> None:
        resolver = FakeResolver(
            {"x.example": [(10, f"{name}.example") for name in "abcd"]}, {f"{name}.example": [f"192.0.2.{ord(name)}"] for name in "abcd"}
        )
        assert len({hosts(resolver, "x.example")[0].name for _ in range(200)}) == 4

    def test_a_domain_without_mx_is_its_own_exchanger(self) -> None:
        assert hosts(FakeResolver(hosts={"x.example": ["192.0.2.1"]}), "x.example") == [Host("x.example", "192.0.2.1", 25)]

    def test_a_domain_that_does_not_exist_is_a_permanent_failure(self) -> None:
        assert failure(FakeResolver(), "nowhere.example") == "5.1.2"

    def test_a_null_mx_is_a_permanent_failure(self) -> None:
        assert failure(FakeResolver({"x.example": [(0, "")]}, {"x.example": ["192.0.2.1"]}), "x.example") == "5.1.10"

    def test_exchangers_without_any_address_are_a_permanent_failure(self) -> None:
        assert failure(FakeResolver({"x.example": [(10, "a.example")]}), "x.example") == "5.4.4"

    @pytest.mark.parametrize("failing", ["x.example", "a.example"])
    def test_dns_that_does_not_answer_may_pass(self, failing: str) -> None:
        assert failure(FakeResolver({"x.example": [(10, "a.example")]}, failing={failing}), "x.example") == "4.4.3"

    def test_one_exchanger_that_dns_does_not_know_now_does_not_stop_the_others(self) -> None:
        resolver = FakeResolver({"x.example": [(10, "a.example"), (20, "b.example")]}, {"b.example": ["192.0.2.2"]}, failing={"a.example"})
        assert [host.name for host in hosts(resolver, "x.example")] == ["b.example"]

    def test_hosts_as_far_from_the_goal_as_we_are_are_not_used(self) -> None:
        resolver = FakeResolver(
            {"x.example": [(10, "a.example"), (20, "relay.example.nl"), (20, "b.example"), (30, "c.example")]},
            {name: ["192.0.2.9"] for name in ("a.example", "b.example", "c.example", "relay.example.nl")},
        )
        assert [host.name for host in hosts(resolver, "x.example")] == ["a.example"]

    @pytest.mark.parametrize("name", ["relay.example.nl", "Relay.Example.NL"])
    def test_being_the_best_exchanger_ourselves_is_a_loop(self, name: str) -> None:
        assert failure(FakeResolver({"x.example": [(10, name), (20, "b.example")]}), "x.example") == "5.4.6"

    def test_our_own_socket_under_another_name_is_a_loop_too(self) -> None:
        ourselves = Ourselves(frozenset(), frozenset({"192.0.2.1:25", "[2001:db8::1]:25"}))
        for address in ("192.0.2.1", "2001:db8::1"):
            assert (
                failure(FakeResolver({"x.example": [(10, "alias.example")]}, {"alias.example": [address]}), "x.example", ourselves)
                == "5.4.6"
            )

    def test_a_domain_with_hundreds_of_exchangers_is_tried_at_few(self) -> None:
        records = [(10, f"h{number}.example") for number in range(300)]
        resolver = FakeResolver({"x.example": records}, {host: ["192.0.2.1", "192.0.2.2", "192.0.2.3"] for _, host in records})
        assert len(hosts(resolver, "x.example")) == 10
        assert len(resolver.asked) == 6

    def test_an_international_domain_is_asked_for_as_a_labels(self) -> None:
        resolver = FakeResolver(hosts={"xn--mller-kva.example": ["192.0.2.1"]})
        assert hosts(resolver, "Müller.example")[0].name == "xn--mller-kva.example"

    @pytest.mark.parametrize(
        ("domain", "address"), [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:db8::1]", "2001:db8::1"), ("[ipv6:::1]", "::1")]
    )
    def test_an_address_literal_needs_no_dns(self, domain: str, address: str) -> None:
        resolver = FakeResolver()
        assert hosts(resolver, domain) == [Host(address, address, 25)]
        assert resolver.asked == []

    @pytest.mark.parametrize(
        "domain", ["[example]", "[2001:db8::1]", "[IPv6:192.0.2.1]", "[192.0.2.1", "[X400:c=nl]", "[fe80::1%eth0]", "[]"]
    )
    def test_other_literals_are_permanent_failures(self, domain: str) -> None:
        assert failure(FakeResolver(), domain) == "5.1.3"

    @pytest.mark.parametrize("domain", ["", "\udcff.example", "é" * 300])
    def test_what_can_be_no_domain_is_a_permanent_failure(self, domain: str) -> None:
        assert failure(FakeResolver(), domain) == "5.1.2"


class TestSmartHost:
    """A smart host needs no MX; what is wrong with it is ours to mend, so it is never a reason to bounce."""

    @pytest.mark.parametrize(
        ("text", "host"),
        [
            ("192.0.2.1:2525", Host("192.0.2.1", "192.0.2.1", 2525)),
            ("[2001:db8::1]:25", Host("2001:db8::1", "2001:db8::1", 25)),
            ("Edge.Example.NL:587", Host("edge.example.nl", "192.0.2.7", 587)),
        ],
    )
    def test_it_is_an_address_or_a_name(self, text: str, host: Host) -> None:
        resolver = FakeResolver({"edge.example.nl": [(10, "not.this")]}, {"edge.example.nl": ["192.0.2.7"]})
        assert hosts(resolver, "x.example", smart_host=text) == [host]

    def test_one_without_an_address_is_a_transient_failure(self) -> None:
        assert failure(FakeResolver(), "x.example", smart_host="gone.example:25") == "4.4.4"


class TestDelivery:
    """The same on real sockets."""

    def test_recipients_of_two_domains_go_to_two_exchangers(self) -> None:
        async def dialogue() -> None:
            async with Sink(address="127.0.0.2") as one:
                other = Sink(address="127.0.0.3")
                await other.start(one.port)
                resolver = FakeResolver(
                    {"a.example": [(10, "mx.a.example")], "b.example": [(10, "mx.b.example")]},
                    {"mx.a.example": ["127.0.0.2"], "mx.b.example": ["127.0.0.3"]},
                )
                outcomes = await deliver(deliverer(resolver), mx_route(one.port), ("x@a.example", "y@b.example", "z@A.example"))
                assert [outcome.state for outcome in outcomes] == [State.DELIVERED] * 3
                assert one.messages[0].envelope.addresses == ["x@a.example", "z@A.example"]
                assert other.messages[0].envelope.addresses == ["y@b.example"]
                await other.stop()

        run(dialogue())

    @pytest.mark.parametrize("fault", ["closed", "greeting", "dropped", "before the final dot"])
    def test_the_next_exchanger_takes_over(self, fault: str) -> None:
        behaviours = {
            "greeting": Behaviour(replies={"CONNECT": "554 5.3.2 No service"}),
            "dropped": Behaviour(drop_at={"CONNECT"}),
            "before the final dot": Behaviour(drop_at={"RCPT"}),
        }

        async def dialogue() -> None:
            async with Sink(address="127.0.0.3") as second:
                first = Sink(behaviours.get(fault), address="127.0.0.2")
                if fault != "closed":
                    await first.start(second.port)
                resolver = FakeResolver({"a.example": [(10, "one"), (20, "two")]}, {"one": ["127.0.0.2"], "two": ["127.0.0.3"]})
                [outcome] = await deliver(deliverer(resolver), mx_route(second.port), ("x@a.example",))
                assert outcome.state is State.DELIVERED
                assert outcome.next_hop == f"two[127.0.0.3]:{second.port}"
                await first.stop()

        run(dialogue())

    def test_one_unknown_domain_does_not_stop_the_other_recipients(self) -> None:
        async def dialogue() -> None:
            async with Sink() as sink:
                resolver = FakeResolver(hosts={"a.example": ["127.0.0.1"]}, failing={"c.example"})
                outcomes = await deliver(deliverer(resolver), mx_route(sink.port), ("x@a.example", "y@b.example", "z@c.example"))
                assert [(outcome.state, outcome.status) for outcome in outcomes] == [
                    (State.DELIVERED, "2.0.0"),
                    (State.BOUNCED, "5.1.2"),
                    (State.READY, "4.4.3"),
                ]

        run(dialogue())

    def test_an_ipv6_next_hop_is_reached(self) -> None:
        async def dialogue() -> None:
            async with Sink(address="::1") as sink:
                resolver = FakeResolver(hosts={"a.example": ["::1"]})
                [outcome] = await deliver(deliverer(resolver), mx_route(sink.port), ("x@a.example",))
                assert outcome.next_hop == f"a.example[::1]:{sink.port}"

        run(dialogue())

    def test_our_own_listener_is_never_a_next_hop(self) -> None:
        async def dialogue() -> None:
            async with Sink() as sink:
                listener = Listener(name="inside", side="inside", addresses=(f"127.0.0.1:{sink.port}",))
                resolver = FakeResolver(hosts={"a.example": ["127.0.0.1"]})
                [outcome] = await deliver(deliverer(resolver, listeners=(listener,)), mx_route(sink.port), ("x@a.example",))
                assert outcome.status == "5.4.6"
                assert sink.connections == 0

        run(dialogue())
