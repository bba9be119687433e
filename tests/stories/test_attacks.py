"""Ways round the promises that were once open: each stays shut."""

import asyncio
from pathlib import Path

from relay.settings.models import Store
from tests.servers.nameserver import NameServer
from tests.servers.sink import Behaviour, Sink
from tests.stories.dialogue import talking
from tests.stories.house import CLERK, CLIENTS, PASS, SENDER, house, message, until

NEVER_PRESS = PASS + "  - {name: no-press, when: {recipient: [press@paper.example]}, then: reject, because: not to the press}\n"


def test_the_brake_stops_the_second_destination_of_one_message(tmp_path: Path, database: Store) -> None:
    """Each final dot asks again, not the first one alone."""

    async def story() -> None:
        names = {
            ("fast.example", "MX"): ["10 mx.fast.example."],
            ("mx.fast.example", "A"): ["127.0.0.1"],
            ("slow.example", "MX"): ["10 mx.slow.example."],
            ("mx.slow.example", "A"): ["127.0.0.2"],
        }
        gate = asyncio.Event()
        async with NameServer(names) as dns, Sink() as fast, Sink(Behaviour(gates={"DATA": gate}), address="127.0.0.2") as slow:
            await slow.stop()
            await slow.start(fast.port)
            policy = {"routes.yaml": f'routes:\n  - {{name: world, to: ["*"], tls: none, port: {fast.port}}}\n', "recipients.yaml": ""}
            settings = {"delivery": {"resolver": [dns.address]}}
            async with house(tmp_path, database, policy=policy, settings=settings) as sluis:
                reply = await sluis.send(message(), to=["a@fast.example", "b@slow.example"])
                await fast.wait_for_messages(1)
                await until(lambda: "DATA" in slow.commands, "the slow one at DATA")
                assert (await sluis.sluis("brake", "pull", "--reason", "stop")).code == 0
                gate.set()
                await until(lambda: slow.open_connections == 0, "the connection to be dropped")
                await sluis.until_states(reply, "delivered", "ready")
                assert slow.messages == []

    asyncio.run(story())


def test_a_policy_that_changed_during_data_is_asked_again(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port) as sluis, talking(sluis.port()) as client:
            for line in (f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{CLERK}>"):
                assert (await client.say(line)).startswith("250")
            assert (await client.say("DATA")).startswith("354")
            sluis.write_policy({"clients.yaml": CLIENTS.replace("may_send_as: [prosecution.example]", "may_send_as: [other.example]")})
            await sluis.reload()
            await client.write(message() + b".\r\n")
            assert (await client.hear()).startswith("451 4.7.1 Policy has changed")
            assert [row.state for row in sluis.rows()] == ["refused"]
            assert (await sluis.send(message())).code == 550, "asked again, it hears today's answer"
            assert sink.messages == []

    asyncio.run(story())


def test_who_a_proxy_names_gets_no_rights_of_the_proxy(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        boss = (
            "clients:\n  - {name: boss, side: inside, addresses: [192.0.2.7/32], require_tls: false,"
            ' may_send_as: [prosecution.example], may_send_to: ["*"]}\n'
        )
        listener = {
            "name": "proxied",
            "side": "inside",
            "addresses": ["127.0.0.1:0"],
            "require_tls": False,
            "proxy_from": ["127.0.0.1/32"],
            "xclient_from": ["127.0.0.1/32"],
            "xforward_from": ["127.0.0.1/32"],
        }
        async with house(tmp_path, database, policy={"clients.yaml": boss}, listeners=[listener]) as sluis:
            header = b"PROXY TCP4 198.51.100.66 192.0.2.1 4000 25\r\n"
            async with talking(sluis.port("proxied"), first=header) as client:
                assert not [word for word in client.offered if word.startswith(("XCLIENT", "XFORWARD"))]
                assert (await client.say("XCLIENT ADDR=192.0.2.7")).startswith("550")
                assert (await client.say(f"MAIL FROM:<{SENDER}>")).startswith("550")

    asyncio.run(story())


def test_a_quoted_pair_in_an_address_evades_no_rule(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy={"rules/pass.yaml": NEVER_PRESS}) as sluis:
            for address in ("press@paper.example", '"press"@paper.example', '"p\\ress"@paper.example'):
                async with talking(sluis.port()) as client:
                    await client.say(f"MAIL FROM:<{SENDER}>")
                    assert (await client.say(f"RCPT TO:<{address}>")).startswith("550"), address
            assert sink.messages == []

    asyncio.run(story())


def test_a_spool_that_is_away_for_a_while_makes_nothing_undeliverable(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        behaviour = Behaviour(replies={"RCPT": "450 4.2.0 later"})
        async with (
            Sink(behaviour) as sink,
            house(tmp_path, database, outside=sink.port, settings={"delivery": {"schedule": [600]}}) as sluis,
        ):
            reply = await sluis.send(message())
            await until(lambda: '"event": "delivery"' in sluis.log(), "the first attempt")
            spool = sluis.folder / "spool"
            spool.rename(sluis.folder / "away")
            retry = ("queue", "retry", reply.id.hex, "--reason", "now")
            assert (await sluis.sluis(*retry)).code == 0
            await until(lambda: '"alert": "spool-unavailable"' in sluis.log(), "the alert")
            assert sluis.states(reply.id) == ["ready"]
            (sluis.folder / "away").rename(spool)
            behaviour.replies.clear()
            await until(lambda: sluis.rows(reply.id)[0].state == "ready", "its rest")
            assert (await sluis.sluis(*retry)).code == 0
            await sluis.until_states(reply, "delivered")
            assert len(sink.messages) == 1

    asyncio.run(story())
