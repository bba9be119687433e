"""Who may send as whom and to whom, by the next hop and the record: forwarders, edges, delegates, strangers, and the postmaster."""

import asyncio
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relay.demo.verify import verify
from relay.inspect.clamav import EICAR
from relay.settings.models import Store
from tests.servers.certificates import issue, make_ca
from tests.servers.sink import Behaviour, Sink
from tests.stages.sign.keys import txt_record
from tests.stories.dialogue import NAME, encoded, talking
from tests.stories.house import CLERK, CLIENTS, OURS, PASS, SENDER, house, message, trusting, with_attachment
from tests.stories.windows import HOUR, room_in

AUTHOR = "author@elsewhere.example"
BARE = message().replace(b"Dear clerk,\r\n", b"Dear clerk,\n")


def by(author: str, raw: bytes) -> bytes:
    """The message with another From."""
    return re.sub(rb"From: .*\r\n", f"From: {author}\r\n".encode(), raw, count=1)


def published(keys: Path) -> dict[str, bytes]:
    """What DNS would say of the keys of our domain."""
    found = {}
    for path in keys.glob("*.pem"):
        key = load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey)
        found[f"{path.stem}._domainkey.{OURS}"] = txt_record(key)
    return found


def test_a_client_that_forwards_sends_for_others_and_is_never_signed_as_ours(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        clients = (
            CLIENTS
            + """\
  - name: lists
    side: inside
    addresses: [127.0.0.2/32]
    require_tls: false
    may_send_as: [prosecution.example]
    may_send_to: ["*"]
    forwards: true
"""
        )
        foreign = message("From the list", From=AUTHOR, DKIM_Signature="v=1; a=rsa-sha256; d=elsewhere.example; s=x; h=from; bh=; b=")
        async with (
            Sink(Behaviour(replies={"gone@court.example": "550 5.1.1 No such mailbox"})) as sink,
            Sink() as home,
            house(tmp_path, database, outside=sink.port, inside=home.port, policy={"clients.yaml": clients}) as sluis,
        ):
            assert (await sluis.send(foreign, sender=AUTHOR)).code == 550, "an ordinary client sends as itself only"
            assert (await sluis.send(foreign)).code == 550, "in the header too"
            for raw, sender in ((foreign, AUTHOR), (message(), SENDER)):
                reply = await sluis.send(raw, sender=sender, source="127.0.0.2")
                await sluis.until_states(reply, "delivered")
                arrived = sink.messages[-1]
                assert arrived.raw.endswith(raw), "the author's signature stays as it was"
                assert b"d=prosecution.example" not in arrived.raw
                assert arrived.envelope.sender == sender
            failed = await sluis.send(foreign, sender=AUTHOR, to=["gone@court.example"], source="127.0.0.2")
            await sluis.until_states(failed, "undeliverable")
            assert home.messages == [], "nobody vouches for a foreign reverse-path"

    asyncio.run(story())


def test_a_client_that_said_250_already_never_hears_5xx_after_data(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        clients = (
            CLIENTS
            + """\
  - name: edge
    side: outside
    addresses: [127.0.0.3/32]
    require_tls: false
    may_send_as: ["*"]
    may_send_to: [prosecution.example]
    already_accepted: true
  - name: queueing
    side: inside
    addresses: [127.0.0.5/32]
    require_tls: false
    may_send_as: [prosecution.example]
    may_send_to: ["*"]
    already_accepted: true
"""
        )
        rules = (
            PASS
            + """\
  - {name: malware-inbound, when: {direction: [inbound], finding: [malware]}, then: reject, because: malware}
  - {name: advertising, when: {subject_contains: [buy]}, then: reject, because: advertising}
"""
        )
        inbound = {"From": CLERK, "To": SENDER}
        inside, outside = (
            {"name": side, "side": side, "addresses": ["127.0.0.1:0"], "require_tls": False, "message_size": 4000}
            for side in ("inside", "outside")
        )
        dreadful = {
            "malware": with_attachment("eicar.com", EICAR, **inbound),
            "bare line feed": BARE,
            "too large": message(body="x" * 70 + "\r\n" + "y" * 5000 + "\r\nthe end\r\n", **inbound),
            "a rule": message("Buy this", **inbound),
            "no From": message(To=SENDER, From=""),
        }
        async with (
            Sink() as home,
            house(
                tmp_path,
                database,
                inside=home.port,
                policy={"clients.yaml": clients, "rules/pass.yaml": rules},
                settings={"listeners": [inside, outside]},
            ) as sluis,
        ):
            kept = {}
            for name, raw in dreadful.items():
                async with talking(sluis.port("outside")) as world:
                    assert (await world.send(raw, [SENDER], CLERK)).code in (550, 552), name
                async with talking(sluis.port("outside"), source="127.0.0.3") as edge:
                    reply = await edge.send(raw, [SENDER], CLERK)
                assert reply.code == 250, name
                (row,) = await sluis.until_states(reply, "quarantined")
                assert row.m_size >= len(raw) - 1, f"{name}: all of it is kept"
                kept[name] = reply
            assert home.messages == []
            # What nobody had looked into is looked into when a person lets it go; it arrives whole.
            said = await sluis.sluis("quarantine", "release", kept["too large"].id.hex, "--reason", "expected from the court")
            assert said.code == 0, said.err
            await sluis.until_states(kept["too large"], "delivered")
            assert home.messages[0].raw.endswith(dreadful["too large"])
            # Inside a sender is vouched for: what policy refuses goes back to it, as a bounce of ours.
            ours = await sluis.send(message("Buy this"), source="127.0.0.5")
            assert ours.code == 250
            await sluis.until_states(ours, "bounced")
            assert (await home.wait_for_messages(2))[1].envelope.sender == ""
            assert b"Status: 5.7.1\r\n" in home.messages[1].raw

    asyncio.run(story())


def test_a_delegate_sends_as_others_by_its_own_login(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        ca = make_ca(tmp_path / "ca")
        chain, key = issue(ca, [NAME])
        tls = {"certificate": str(chain), "key": str(key)}
        submission = {"name": "submission", "side": "inside", "addresses": ["127.0.0.1:0"], "tls": tls, "auth": True}
        policy = {
            "clients.yaml": """\
clients:
  - {name: staff, side: inside, logins: [secretary, trainee], may_send_as: [staff@prosecution.example], may_send_to: ["*"]}
""",
            "senders.yaml": "senders:\n  - {login: secretary, may_send_as: [chief@prosecution.example]}\n",
        }
        chief, staff = f"chief@{OURS}", f"staff@{OURS}"
        async with (
            Sink() as sink,
            house(tmp_path, database, outside=sink.port, policy=policy, settings={"logins": "logins"}, listeners=[submission]) as sluis,
        ):
            for login in ("secretary", "trainee"):
                assert (await sluis.sluis("keys", "login", login, stdin="correct horse battery\n")).code == 0
            for login, sender, author, expected in (
                ("secretary", chief, chief, 250),
                ("secretary", staff, chief, 250),
                ("trainee", chief, chief, 550),
                ("trainee", staff, chief, 550),
                ("trainee", staff, staff, 250),
            ):
                async with talking(sluis.port("submission")) as client:
                    await client.secure(trusting(ca.certificate))
                    assert (await client.say("AUTH PLAIN " + encoded(f"\0{login}\0correct horse battery"))).startswith("235 ")
                    reply = await client.send(message(From=author), sender=sender)
                assert reply.code == expected, (login, sender, author)
                if expected == 250:
                    await sluis.until_states(reply, "delivered")
                    assert sink.messages[-1].raw.count(b"d=prosecution.example") == 2, "authorised, so signed"

    asyncio.run(story())


def test_a_sender_at_its_ceiling_hears_450_and_a_restart_forgets_nothing(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        limited = "    sender_limits: {messages_per_hour: 2, recipients_per_day: 3}\n"
        clients = CLIENTS.replace('    may_send_to: ["*"]\n', '    may_send_to: ["*"]\n' + limited, 1)
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy={"clients.yaml": clients}) as sluis:
            await room_in(HOUR)  # a day ends with one
            crowd = [f"clerk{number}@court.example" for number in range(5)]
            async with talking(sluis.port()) as client:
                replies = await client.envelope(crowd, f"busy@{OURS}")
            assert [reply[:9] for reply in replies] == ["250 2.1.0"] + ["250 2.1.5"] * 3 + ["450 4.7.1"] * 2
            for expected in (250, 250, 450):
                assert (await sluis.send(message())).code == expected
            assert (await sluis.send(message(), sender=f"other@{OURS}")).code == 250, "each sender has its own"
            await sluis.stop()
            await sluis.start()
            refused = await sluis.send(message())
            assert (refused.code, refused.text[:5]) == (450, "4.7.1")

    asyncio.run(story())


def test_nobody_relays_through_it_from_either_side(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        victim = "victim@elsewhere.example"
        async with (
            Sink() as sink,
            Sink(Behaviour(replies={"RCPT": "550 5.1.1 No such mailbox", SENDER: "250 2.1.5 Ok"})) as home,
            house(tmp_path, database, outside=sink.port, inside=home.port) as sluis,
        ):
            async with talking(sluis.port("outside")) as stranger:
                assert (await stranger.say(f"MAIL FROM:<{CLERK}>")).startswith("250 ")
                for path in (
                    f"<{victim}>",
                    f"<@{OURS}:{victim}>",
                    f"<{victim.replace('@', '%')}@{OURS}>",
                    f'<"{victim}"@{OURS}>',
                    f"<elsewhere.example!victim@{OURS}>",
                    "<victim@[127.0.0.1]>",
                    f"<victim@sub.{OURS}>",
                ):
                    assert (await stranger.say(f"RCPT TO:{path}")).startswith("550 5."), path
            async with talking(sluis.port("outside")) as stranger:
                assert (await stranger.send(message(), [SENDER], SENDER)).code == 550, "nobody outside is one of us"
                assert (await stranger.send(message(From=f"chief@{OURS}", To=SENDER), [SENDER], CLERK)).code == 550, "nor in the header"
            async with talking(sluis.port(), source="127.0.0.9") as stranger:
                for sender in (SENDER, victim, ""):
                    assert (await stranger.say(f"MAIL FROM:<{sender}>")) == "550 5.7.1 This host may not send mail through here"
            async with talking(sluis.port()) as client:
                for sender in (victim, f"s.devries@sub.{OURS}", f"s.devries@{OURS}.elsewhere.example"):
                    assert (await client.say(f"MAIL FROM:<{sender}>")).startswith("550 5.7.1 "), sender
            assert (sink.messages, home.messages) == ([], [])
            told = await sluis.events("refused")
            assert len(told) == 15, "each of them is an event"

    asyncio.run(story())


def test_bounces_come_in_and_postmaster_is_always_there(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        postmaster = f"postmaster@{OURS}"
        clients = (
            CLIENTS.replace("may_send_to: [prosecution.example]", "may_send_to: [nobody@prosecution.example]")
            + """\
  - name: no-bounces
    side: outside
    addresses: [127.0.0.4/32]
    require_tls: false
    may_send_as: ["*"]
    may_send_null: false
    may_send_to: [prosecution.example]
"""
        )
        rules = PASS + "  - {name: shut, when: {sender: [elsewhere.example]}, then: reject, because: shut}\n"
        async with (
            Sink() as home,
            house(tmp_path, database, inside=home.port, policy={"clients.yaml": clients, "rules/pass.yaml": rules}) as sluis,
        ):
            inbound = message(From=CLERK, To=postmaster)
            async with talking(sluis.port("outside")) as world:
                replies = await world.envelope([SENDER, "Postmaster", f"PostMaster@{OURS}", "postmaster@elsewhere.example"], "")
                assert [reply[:3] for reply in replies] == ["250", "550", "250", "250", "550"]
                (reply,) = await world.content(inbound)
                await sluis.until_states(reply, "delivered", "delivered")
                assert home.messages[0].envelope.sender == ""
                assert [address.lower() for address in home.messages[0].envelope.addresses] == [postmaster, postmaster]
                replies = await world.envelope([SENDER, postmaster], AUTHOR)
                assert [reply[:3] for reply in replies] == ["250", "550", "250"], "whoever is refused can write to the postmaster"
            async with talking(sluis.port("outside"), source="127.0.0.4") as strict:
                assert (await strict.say("MAIL FROM:<>")).startswith("550 5.7.1 ")

    asyncio.run(story())


def test_a_full_spool_says_452_and_takes_mail_again_when_there_is_room(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, settings={"spool": {"reserve": 2**60}}) as sluis:
            full = await sluis.send(message())
            assert (full.code, full.text) == (452, "4.3.1 Not enough storage now, try again later")
            assert sluis.rows() == []
            await sluis.stop()
            sluis.change_settings(str(2**60), "1024")
            await sluis.start()
            await sluis.until_states(await sluis.send(message()), "delivered")

    asyncio.run(story())


def test_a_listener_and_a_client_may_be_ipv6(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        six = {"name": "six", "side": "inside", "addresses": ["[::1]:0"], "require_tls": False}
        clients = CLIENTS.replace("[127.0.0.1/32]", '["::1/128"]')
        async with (
            Sink(address="::1") as sink,
            house(
                tmp_path,
                database,
                policy={
                    "clients.yaml": clients,
                    "routes.yaml": f'routes:\n  - {{name: outside, to: ["*"], smart_host: "[::1]:{sink.port}", tls: none}}\n',
                    "recipients.yaml": "",
                },
                listeners=[six],
            ) as sluis,
        ):
            async with talking(sluis.port("six"), host="::1", hello="EHLO [IPv6:::1]") as client:
                reply = await client.send(message())
            (row,) = await sluis.until_states(reply, "delivered")
            assert b"Received: from [IPv6:::1] ([IPv6:::1])\r\n" in sink.messages[0].raw
            assert row.outcome["next_hop"] == f"::1[::1]:{sink.port}"
            async with talking(sluis.port()) as other:
                assert (await other.send(message())).code == 550, "the same machine over IPv4 is somebody else"

    asyncio.run(story())


def test_a_message_that_runs_in_a_circle_is_stopped(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        hop = b"Received: from a.example by b.example with ESMTP;\r\n\tTue, 24 Nov 2026 08:00:00 +0100\r\n"
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, settings={"delivery": {"max_received": 10}}) as sluis:
            await sluis.until_states(await sluis.send(hop * 10 + message()), "delivered")
            refused = await sluis.send(hop * 11 + message())
            assert (refused.code, refused.text[:20]) == (554, "5.4.6 Too many hops;")
            assert sluis.states(refused.id) == ["refused"]

    asyncio.run(story())


def test_a_forged_result_in_our_name_is_the_one_field_that_does_not_leave(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        forged = (
            b"Authentication-Results: relay.prosecution.example;\r\n\tdmarc=pass header.from=prosecution.example\r\n",
            b"AUTHENTICATION-RESULTS: (really) Relay.Prosecution.EXAMPLE 1; spf=pass\r\n",
        )
        honest = b"Authentication-Results: mx.court.example; dkim=none\r\nX-Note: relay.prosecution.example\r\n"
        top, _, rest = message().partition(b"Subject:")
        rest = b"Subject:" + rest + b"Authentication-Results: relay.prosecution.example; in the body it is text\r\n"
        left = top + honest + rest
        async with Sink() as sink, Sink() as home, house(tmp_path, database, outside=sink.port, inside=home.port) as sluis:
            for listener, sender, recipient, hop in (("inside", SENDER, CLERK, sink), ("outside", CLERK, SENDER, home)):
                raw = by(sender, forged[0] + top + honest + forged[1] + rest)
                reply = await sluis.send(raw, sender=sender, to=[recipient], listener=listener)
                (row,) = await sluis.until_states(reply, "delivered")
                (arrived,) = hop.messages
                assert arrived.raw.endswith(by(sender, left))
                assert b"dmarc=pass" not in arrived.raw
                assert row.m_size == len(raw), "the record keeps what came in"
            results = verify(sink.messages[0].raw, published(sluis.folder / "keys" / "dkim" / OURS))
            assert list(results.values()) == [True, True], "what was signed is what left"

    asyncio.run(story())
