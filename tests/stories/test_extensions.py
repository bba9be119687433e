"""The extensions of SMTP, each by what the next hop and the sender see of it in the end."""

import asyncio
import re
import smtplib
from pathlib import Path

from relay.settings.models import Store
from tests.servers.certificates import issue, make_ca
from tests.servers.postfix import running_postfix
from tests.servers.sink import EXTENSIONS, Behaviour, Sink
from tests.stories.dialogue import HELLO, NAME, encoded, receipt, stuffed, talking
from tests.stories.house import CLERK, SENDER, house, message, trusting

PLAIN_HOP = "clerk@plain.example"
ZURICH = "griffié@court.example"
ZURICH_PLAIN = "griffié@plain.example"


def without(*keywords: str) -> Behaviour:
    """A next hop that lacks some extensions."""
    return Behaviour(extensions=tuple(line for line in EXTENSIONS if line.split()[0] not in keywords))


def two_ways(plain: int) -> dict[str, str]:
    """Beside the usual routes one to a next hop that lacks something, for plain.example."""
    return {
        "routes.yaml": f"""\
routes:
  - {{name: plain, to: [plain.example], smart_host: "127.0.0.1:{plain}", tls: none}}
  - {{name: inside, to: [prosecution.example], smart_host: "127.0.0.1:@INSIDE@", tls: none}}
  - {{name: outside, to: ["*"], smart_host: "127.0.0.1:@OUTSIDE@", tls: none}}
"""
    }


def field(raw: bytes, name: str) -> list[str]:
    """The values of a field of a delivery status notification, in order."""
    return [value.decode().strip() for value in re.findall(rb"(?mi)^" + name.encode() + rb": (.*)\r$", raw)]


def test_pipelining_commands_in_one_packet_arrive_and_a_next_hop_that_offers_it_gets_them_so(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        one, other = message("One"), message("Other")
        async with (
            Sink() as sink,
            Sink(without("PIPELINING")) as plain,
            house(tmp_path, database, outside=sink.port, policy=two_ways(plain.port)) as sluis,
            talking(sluis.port()) as client,
        ):
            assert "PIPELINING" in client.offered
            envelope = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{CLERK}>\r\nRCPT TO:<{PLAIN_HOP}>\r\nDATA\r\n".encode()
            await client.write(envelope)
            assert [(await client.hear())[:3] for _ in range(4)] == ["250", "250", "250", "354"]
            await client.write(stuffed(one) + b".\r\n" + envelope)  # the next transaction in the packet of the final dot
            first = receipt(await client.hear())
            assert [(await client.hear())[:3] for _ in range(4)] == ["250", "250", "250", "354"]
            await client.write(stuffed(other) + b".\r\nQUIT\r\n")
            second = receipt(await client.hear())
            assert (await client.hear()).startswith("221 2.0.0 ")
            for reply in (first, second):
                await sluis.until_states(reply, "delivered", "delivered")
            for hop in (sink, plain):
                assert [arrived.raw.endswith(raw) for arrived, raw in zip(hop.messages, (one, other), strict=True)] == [True, True]
            assert f"RCPT TO:<{CLERK}>" in sink.ahead, "MAIL and RCPT go in one packet"
            assert plain.ahead == [], "a next hop that does not offer it gets one command at a time"

    asyncio.run(story())


def test_size_is_refused_when_declared_or_reached_and_passed_on_to_the_next_hop(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        small = [{"name": "small", "side": "inside", "addresses": ["127.0.0.1:0"], "require_tls": False, "message_size": 2000}]
        large = message(body="x" * 70 + "\r\n" + "y" * 2000 + "\r\n")
        async with (
            Sink() as sink,
            Sink(Behaviour(extensions=("SIZE 1500", "PIPELINING"))) as narrow,
            Sink() as home,
            house(tmp_path, database, outside=sink.port, inside=home.port, policy=two_ways(narrow.port), listeners=small) as sluis,
            talking(sluis.port("small")) as client,
        ):
            assert "SIZE 2000" in client.offered
            assert await client.say(f"MAIL FROM:<{SENDER}> SIZE=2001") == "552 5.3.4 Message size exceeds the limit"
            assert (await client.send(large)).code == 552
            assert [row.state for row in sluis.rows()] == ["refused"], "what was declared too large never came; what came has a row"
            sent = await sluis.send(large, options=[f"SIZE={len(large)}"])
            await sluis.until_states(sent, "delivered")
            (arrived,) = sink.messages
            assert f"SIZE={len(arrived.raw)}" in arrived.envelope.parameters, "the size as it leaves, with what was put in front"
            bounced = await sluis.send(large, to=[PLAIN_HOP])
            await sluis.until_states(bounced, "bounced")
            assert narrow.messages == []
            assert field((await home.wait_for_messages(1))[0].raw, "Status") == ["5.3.4"]
            assert not any(line.startswith("MAIL") for line in narrow.commands), "it is not even tried"

    asyncio.run(story())


def test_8bitmime_is_passed_on_and_a_next_hop_without_it_gets_nothing_and_nothing_converted(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        raw = message(
            body="Beste griffie,\r\n\r\nDe zitting van 24 november is één uur later.\r\n",
            MIME_Version="1.0",
            Content_Type="text/plain; charset=utf-8",
            Content_Transfer_Encoding="8bit",
        )
        async with (
            Sink() as sink,
            Sink(without("8BITMIME", "SMTPUTF8")) as plain,
            Sink() as home,
            house(tmp_path, database, outside=sink.port, inside=home.port, policy=two_ways(plain.port)) as sluis,
        ):
            reply = await sluis.send(raw, to=[CLERK, PLAIN_HOP], options=["BODY=8BITMIME"])
            await sluis.until_states(reply, "delivered", "bounced")
            (arrived,) = sink.messages
            assert "BODY=8BITMIME" in arrived.envelope.parameters
            assert arrived.raw.endswith(raw)
            assert plain.messages == []
            (bounce,) = await home.wait_for_messages(1)
            assert field(bounce.raw, "Status") == ["5.6.3"]
            # 7-bit content needs nothing, whatever the client declared.
            ordinary = await sluis.send(message(), to=[PLAIN_HOP], options=["BODY=8BITMIME"])
            await sluis.until_states(ordinary, "delivered")
            assert not any("BODY" in parameter for parameter in plain.messages[0].envelope.parameters)

    asyncio.run(story())


def test_smtputf8_is_passed_on_and_a_next_hop_without_it_gets_nothing(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        raw = message("Zitting in Zürich", From=f"Sanne de Vriés <{SENDER}>", To=ZURICH)
        async with (
            Sink() as sink,
            Sink(without("SMTPUTF8")) as plain,
            Sink() as home,
            house(tmp_path, database, outside=sink.port, inside=home.port, policy=two_ways(plain.port)) as sluis,
        ):
            async with talking(sluis.port()) as client:
                assert "SMTPUTF8" in client.offered
                assert (await client.envelope([ZURICH]))[1] == "553 5.6.7 A non-ASCII address needs SMTPUTF8"
            reply = await sluis.send(raw, to=[ZURICH, ZURICH_PLAIN], options=["SMTPUTF8", "BODY=8BITMIME"])
            await sluis.until_states(reply, "delivered", "bounced")
            (arrived,) = sink.messages
            assert arrived.envelope.addresses == [ZURICH]
            assert "SMTPUTF8" in arrived.envelope.parameters
            assert arrived.raw.endswith(raw)
            assert b"with UTF8SMTP " in arrived.raw.partition(b"\r\nFrom:")[0], "RFC 6531 §4.3"
            assert plain.messages == []
            (bounce,) = await home.wait_for_messages(1)
            assert field(bounce.raw, "Status") == ["5.6.7"]
            assert field(bounce.raw, "Final-Recipient") == [f"utf-8; {ZURICH_PLAIN}"]
            assert b"message/global-delivery-status" in bounce.raw, "RFC 6533 §3"

    asyncio.run(story())


def test_enhanced_status_codes_are_in_every_reply_and_the_next_hops_own_one_is_in_the_notice(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        replies = {CLERK: "550 5.7.26 Unauthenticated mail is not taken", "old@court.example": "550 No such user"}
        async with (
            Sink(Behaviour(replies=replies)) as sink,
            Sink() as home,
            house(tmp_path, database, outside=sink.port, inside=home.port) as sluis,
            talking(sluis.port()) as client,
        ):
            assert "ENHANCEDSTATUSCODES" in client.offered
            said = ["NOOP", "RSET", "VRFY someone", "BOGUS", "DATA", f"MAIL FROM:<{SENDER}>", "MAIL FROM:<>", "RCPT TO:<a b>", "RSET"]
            for line in said:
                reply = await client.say(line)
                assert re.match(r"([245])\d\d \1\.\d{1,3}\.\d{1,3} ", reply), (line, reply)
            sent = await client.send(message(), to=[CLERK, "old@court.example"])
            await sluis.until_states(sent, "bounced", "bounced")
            (bounce,) = await home.wait_for_messages(1)
            assert field(bounce.raw, "Status") == ["5.7.26", "5.0.0"], "RFC 3464 §2.3.4: without one, that of its class"
            assert field(bounce.raw, "Diagnostic-Code") == [
                "smtp; 550 5.7.26 Unauthenticated mail is not taken",
                "smtp; 550 No such user",
            ]

    asyncio.run(story())


def test_starttls_on_both_sides_is_in_the_trace_and_at_the_sink(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        ca = make_ca(tmp_path / "ca")
        chain, key = issue(ca, [NAME], ["127.0.0.1"])
        tls = {"certificate": str(chain), "key": str(key)}
        listeners = [
            {"name": f"{side}-tls", "side": side, "addresses": ["127.0.0.1:0"], "require_tls": False, "tls": tls}
            for side in ("inside", "outside")
        ]
        routes = f"""\
routes:
  - {{name: inside, to: [prosecution.example], smart_host: "127.0.0.1:@INSIDE@", tls: verified, ca_file: {ca.certificate}}}
  - {{name: outside, to: ["*"], smart_host: "127.0.0.1:@OUTSIDE@", tls: verified, ca_file: {ca.certificate}}}
"""
        async with (
            Sink(certificate=(chain, key)) as sink,
            Sink(certificate=(chain, key)) as home,
            house(tmp_path, database, outside=sink.port, inside=home.port, policy={"routes.yaml": routes}, listeners=listeners) as sluis,
        ):
            async with talking(sluis.port()) as client:
                assert "STARTTLS" not in client.offered, "a listener without a certificate"
            async with talking(sluis.port("inside-tls")) as client:
                # What is sent in clear text behind STARTTLS is never taken for something that came under TLS (CVE-2011-0411).
                await client.write(f"STARTTLS\r\nMAIL FROM:<{SENDER}>\r\n".encode())
                assert (await client.hear()).startswith("503 5.5.1 ")
            for listener, sender, recipient, hop in (
                ("inside-tls", SENDER, CLERK, sink),
                ("outside-tls", CLERK, SENDER, home),
            ):
                async with talking(sluis.port(listener)) as client:
                    assert "STARTTLS" in client.offered
                    agreed = await client.secure(trusting(ca.certificate))
                    assert agreed.version() == "TLSv1.3"
                    assert "STARTTLS" not in client.offered
                    reply = await client.send(message(From=sender, To=recipient), [recipient], sender)
                rows = await sluis.until_states(reply, "delivered")
                (arrived,) = hop.messages
                assert b"(using TLSv1.3 with cipher TLS_" in arrived.raw
                assert b" with ESMTPS id " in arrived.raw, "RFC 3848"
                assert arrived.envelope.tls == "TLSv1.3"
                assert rows[0].outcome["tls"].startswith("TLSv1.3 TLS_"), "the record says what left over what"

    asyncio.run(story())


def test_dsn_is_passed_on_to_a_next_hop_that_has_it_and_honoured_here_otherwise(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        parameters = "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;clerk+2Broom@court.example"
        options = ["RET=HDRS", "ENVID=case+2B42"]
        async with (
            Sink() as sink,
            Sink(without("DSN")) as plain,
            Sink() as home,
            house(tmp_path, database, outside=sink.port, inside=home.port, policy=two_ways(plain.port)) as sluis,
        ):
            async with talking(sluis.port()) as client:
                assert "DSN" in client.offered
            passed = await sluis.send(message(), to=[f"{CLERK} {parameters}"], options=options)
            await sluis.until_states(passed, "delivered")
            (arrived,) = sink.messages
            assert {"RET=HDRS", "ENVID=case+2B42"} <= set(arrived.envelope.parameters)
            ((address, given),) = arrived.envelope.recipients
            assert address == CLERK
            assert set(given) == {"NOTIFY=FAILURE,SUCCESS", "ORCPT=rfc822;clerk+2Broom@court.example"}
            honoured = await sluis.send(message(), to=[f"{PLAIN_HOP} {parameters}", "quiet@plain.example"], options=options)
            await sluis.until_states(honoured, "delivered", "delivered")
            (notice,) = await home.wait_for_messages(1)
            assert notice.envelope.sender == ""
            assert notice.envelope.addresses == [SENDER]
            assert field(notice.raw, "Action") == ["relayed"], "RFC 3461 §5.2.2; and nobody asked for the other one"
            assert field(notice.raw, "Original-Envelope-Id") == ["case+42"]
            assert field(notice.raw, "Original-Recipient") == ["rfc822; clerk+room@court.example"]
            assert field(notice.raw, "Final-Recipient") == [f"rfc822; {PLAIN_HOP}"]
            assert field(notice.raw, "Status") == ["2.0.0"]
            assert len(home.messages) == 1, "for the first message the next hop tells"

    asyncio.run(story())


def test_dsn_is_not_offered_and_not_taken_outside(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as home, house(tmp_path, database, inside=home.port) as sluis, talking(sluis.port("outside")) as client:
            assert "DSN" not in client.offered
            for options in ("RET=HDRS", "ENVID=x"):
                assert (await client.say(f"MAIL FROM:<{CLERK}> {options}")).startswith("555 5.5.4 ")
            replies = await client.envelope([f"{SENDER} NOTIFY=SUCCESS", f"{SENDER} ORCPT=rfc822;a@b.example", SENDER], CLERK)
            assert [reply[:9] for reply in replies] == ["250 2.1.0", "555 5.5.4", "555 5.5.4", "250 2.1.5"]
            (reply,) = await client.content(message(From=CLERK, To=SENDER))
            await sluis.until_states(reply, "delivered")
            assert home.messages[0].envelope.recipients == [(SENDER, ())]

    asyncio.run(story())


def test_auth_plain_and_login_under_tls_say_who_the_client_is(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        ca = make_ca(tmp_path / "ca")
        chain, key = issue(ca, [NAME])
        listener = {
            "name": "submission",
            "side": "inside",
            "addresses": ["127.0.0.1:0"],
            "tls": {"certificate": str(chain), "key": str(key)},
            "auth": True,
        }
        clients = """\
clients:
  - name: department
    side: inside
    logins: [department]
    may_send_as: [prosecution.example]
    may_send_to: ["*"]
"""
        secret = "correct horse battery"
        async with (
            Sink() as sink,
            house(
                tmp_path,
                database,
                outside=sink.port,
                policy={"clients.yaml": clients},
                settings={"logins": "logins"},
                listeners=[listener],
            ) as sluis,
        ):
            said = await sluis.sluis("keys", "login", "department", stdin=secret + "\n")
            assert said.code == 0, said.err
            assert secret not in (sluis.folder / "logins").read_text()
            plain = encoded(f"\0department\0{secret}")
            async with talking(sluis.port("submission")) as client:
                assert not any(line.startswith("AUTH") for line in client.offered), "no password in clear text"
                assert (await client.say(f"AUTH PLAIN {plain}")).startswith("538 5.7.11 ")
                await client.secure(trusting(ca.certificate))
                assert "AUTH PLAIN LOGIN" in client.offered
                assert (await client.send(message())).code == 550, "without a login nobody of the policy"
                wrong = encoded("\0department\0wrong horse battery")
                assert await client.say(f"AUTH PLAIN {wrong}") == "535 5.7.8 Authentication failed"
                assert await client.say(f"AUTH PLAIN {plain}") == "235 2.7.0 Authentication successful"
                first = await client.send(message())
            async with talking(sluis.port("submission")) as client:
                await client.secure(trusting(ca.certificate))
                assert await client.say("AUTH LOGIN") == f"334 {encoded('Username:')}"
                assert await client.say(encoded("department")) == f"334 {encoded('Password:')}"
                assert (await client.say(encoded(secret))).startswith("235 ")
                second = await client.send(message())
            for reply in (first, second):
                (row,) = await sluis.until_states(reply, "delivered")
                assert row.m_client == "department"
                assert row.m_peer["login"] == "department"
            assert all(b" with ESMTPSA id " in arrived.raw for arrived in sink.messages), "RFC 3848"
            assert not any(b"department" in arrived.raw for arrived in sink.messages), "a login is nobody's business outside"
            assert secret not in sluis.log()
            (failed,) = [event for event in await sluis.events("refused") if event["result"] == "535"]
            assert failed["details"]["reply"].startswith("535 5.7.8")

    asyncio.run(story())


BEHIND_A_PROXY = """\
clients:
  - name: mailserver
    side: inside
    addresses: [192.0.2.0/24, "2001:db8::/64"]
    require_tls: false
    may_send_as: [prosecution.example]
    may_send_to: ["*"]
"""


def proxy_v1(source: str) -> bytes:
    """The text form."""
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {'2001:db8::1' if ':' in source else '192.0.2.1'} 40000 25\r\n".encode()


def proxy_v2(source: str) -> bytes:
    """The binary form, IPv4."""
    addresses = bytes(int(part) for part in f"{source}.192.0.2.1".split(".")) + (40000).to_bytes(2, "big") + (25).to_bytes(2, "big")
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + len(addresses).to_bytes(2, "big") + addresses


def test_behind_a_proxy_the_address_that_counts_is_the_one_that_it_names(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        listener = {
            "name": "proxied",
            "side": "inside",
            "addresses": ["127.0.0.1:0"],
            "require_tls": False,
            "proxy_from": ["127.0.0.1/32"],
            "connections_per_address": 1,
        }
        async with (
            Sink() as sink,
            house(tmp_path, database, outside=sink.port, policy={"clients.yaml": BEHIND_A_PROXY}, listeners=[listener]) as sluis,
        ):
            port = sluis.port("proxied")
            for first, shown in (
                (proxy_v1("192.0.2.7"), "[192.0.2.7]"),
                (proxy_v1("2001:db8::7"), "[IPv6:2001:db8::7]"),
                (proxy_v2("192.0.2.8"), "[192.0.2.8]"),
            ):
                async with talking(port, first=first) as client:
                    reply = await client.send(message())
                (row,) = await sluis.until_states(reply, "delivered")
                assert shown.encode() in sink.messages[-1].raw.partition(b"\r\nFrom:")[0]
                assert row.m_peer["proxy"] == "127.0.0.1", "and the record knows who said so"
            async with talking(port, first=proxy_v2("198.51.100.1")) as stranger:
                assert (await stranger.send(message())).code == 550, "an address that no client has"
            async with (
                talking(port, first=proxy_v1("192.0.2.9")),
                talking(port, first=proxy_v1("192.0.2.10")),
                talking(port, first=proxy_v1("192.0.2.9"), hello=None) as third,
            ):
                assert (await third.hear()).startswith("421 4.7.0 Too many connections"), "one each, counted behind the proxy"
            async with talking(port, source="127.0.0.9") as direct:
                assert (await direct.send(message())).code == 550, "who may not name others is taken for what it is"

    asyncio.run(story())


def test_xclient_changes_who_it_is_and_xforward_only_what_is_recorded(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        listener = {
            "name": "gateway",
            "side": "inside",
            "addresses": ["127.0.0.1:0"],
            "require_tls": False,
            "xclient_from": ["127.0.0.1/32"],
            "xforward_from": ["127.0.0.1/32"],
        }
        async with (
            Sink() as sink,
            house(tmp_path, database, outside=sink.port, policy={"clients.yaml": BEHIND_A_PROXY}, listeners=[listener]) as sluis,
        ):
            async with talking(sluis.port()) as client:
                assert not any(line.startswith("X") for line in client.offered)
                for command in ("XCLIENT ADDR=192.0.2.7", "XFORWARD ADDR=192.0.2.7"):
                    assert (await client.say(command)).startswith("550 5.7.1 "), "not from anybody"
            async with talking(sluis.port("gateway")) as client:
                assert {line.split()[0] for line in client.offered} >= {"XCLIENT", "XFORWARD"}
                assert (await client.say("XFORWARD NAME=pc7.prosecution.example ADDR=192.0.2.7")).startswith("250 2.0.0 ")
                assert (await client.send(message())).code == 550, "XFORWARD changes no identity"
                assert (await client.say("XCLIENT ADDR=192.0.2.7 NAME=mail.prosecution.example")).startswith("220 ")
                await client.hello("EHLO mail7.prosecution.example")
                assert (await client.say("XFORWARD ADDR=10.0.0.5 HELO=pc5")).startswith("250 2.0.0 ")
                reply = await client.send(message())
            (row,) = await sluis.until_states(reply, "delivered")
            trace = sink.messages[0].raw.partition(b"\r\nFrom:")[0]
            assert b"from mail7.prosecution.example ([192.0.2.7])" in trace
            assert b"10.0.0.5" not in trace, "what is behind the client stays inside"
            assert (row.m_peer["address"], row.m_peer["proxy"]) == ("192.0.2.7", "127.0.0.1")
            assert row.m_peer["forwarded"]["addr"] == "10.0.0.5"

    asyncio.run(story())


LMTP_RULES = """\
rules:
  - {name: pass, then: deliver, because: ordinary mail}
  - {name: sealed, when: {recipient: [sealed@court.example]}, then: quarantine, because: a sealed case}
  - {name: never, when: {recipient: [never@court.example], subject_contains: [hearing]}, then: reject, because: no hearings there}
"""


def test_lmtp_gives_each_recipient_its_own_reply_on_the_way_in_and_reads_each_on_the_way_out(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        listener = {"name": "lmtp", "side": "inside", "addresses": ["127.0.0.1:0"], "require_tls": False, "protocol": "lmtp"}
        routes = """\
routes:
  - {name: inside, to: [prosecution.example], smart_host: "127.0.0.1:@INSIDE@", tls: none}
  - {name: outside, to: ["*"], smart_host: "127.0.0.1:@OUTSIDE@", tls: none, lmtp: true}
"""
        mailboxes = without("DSN")
        mailboxes.lmtp, mailboxes.replies = True, {"DOT:full@court.example": "552 5.2.2 Mailbox full"}
        policy = {"routes.yaml": routes, "rules/pass.yaml": LMTP_RULES}
        async with (
            Sink(mailboxes) as sink,
            Sink() as home,
            house(tmp_path, database, outside=sink.port, inside=home.port, policy=policy, listeners=[listener]) as sluis,
            talking(sluis.port("lmtp"), hello=HELLO.replace("EHLO", "LHLO")) as client,
        ):
            to = [f"{CLERK} NOTIFY=SUCCESS", "sealed@court.example", "never@court.example", "full@court.example"]
            assert [reply[:3] for reply in await client.envelope(to)] == ["250"] * 5
            replies = await client.content(message(), replies=4)
            assert [reply.code for reply in replies] == [250, 250, 550, 250]
            assert len({reply.text for reply in replies if reply.code == 250}) == 1, "one message, one receipt"
            await sluis.until_states(replies[0], "delivered", "quarantined", "refused", "bounced")
            (arrived,) = sink.messages
            assert arrived.envelope.addresses == [CLERK, "full@court.example"]
            assert b" with LMTP id " in arrived.raw
            assert any(line.startswith("LHLO ") for line in sink.commands)
            notices = {field(notice.raw, "Action")[0]: notice.raw for notice in await home.wait_for_messages(2)}
            assert field(notices["failed"], "Final-Recipient") == ["rfc822; full@court.example"]
            assert field(notices["failed"], "Status") == ["5.2.2"]
            assert field(notices["delivered"], "Final-Recipient") == [f"rfc822; {CLERK}"], "into a mailbox, and no further"

    asyncio.run(story())


def test_postfix_over_lmtp_with_xforward_gets_a_reply_for_each_recipient(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        listener = {
            "name": "lmtp",
            "side": "inside",
            "addresses": ["127.0.0.1:0"],
            "require_tls": False,
            "protocol": "lmtp",
            "xforward_from": ["127.0.0.1/32"],
        }
        client = {"default_transport": "lmtp", "lmtp_send_xforward_command": "yes"}
        async with (
            Sink() as sink,
            Sink() as home,
            house(
                tmp_path,
                database,
                outside=sink.port,
                inside=home.port,
                policy={"rules/pass.yaml": LMTP_RULES},
                listeners=[listener],
            ) as sluis,
            running_postfix(tmp_path, relay_port=sluis.port("lmtp"), settings=client) as postfix,
        ):
            await asyncio.to_thread(_submit, postfix.port, [CLERK, "never@court.example"])
            await postfix.wait_for_log(rf"to=<{CLERK}>.*status=sent \(250 2\.0\.0 Ok: queued as")
            await postfix.wait_for_log(r"to=<never@court\.example>.*status=bounced .*550 5\.7\.1")
            (arrived,) = await sink.wait_for_messages(1)
            assert arrived.envelope.addresses == [CLERK]
            (row,) = [row for row in sluis.rows() if row.recipient == CLERK]
            assert row.m_peer["lmtp"] is True
            assert row.m_peer["forwarded"]["addr"] == "127.0.0.1"
            assert row.m_peer["forwarded"]["helo"] == "pc7.prosecution.example"

    asyncio.run(story())


def _submit(port: int, to: list[str]) -> None:
    with smtplib.SMTP("127.0.0.1", port, "pc7.prosecution.example", 30) as client:
        client.sendmail(SENDER, to, message())
