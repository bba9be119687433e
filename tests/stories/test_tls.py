"""TLS on the way in and on the way out: where it is required and missing, nothing passes, and nothing ever falls back to plaintext."""

import asyncio
import datetime
import hashlib
import smtplib
import ssl
import warnings
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from relay.settings.models import Store
from tests.servers.certificates import Authority, issue, make_ca
from tests.servers.exim import running_exim
from tests.servers.nameserver import NameServer
from tests.servers.postfix import running_postfix
from tests.servers.sink import Behaviour, Sink
from tests.stories.dialogue import NAME, talking
from tests.stories.house import CLERK, SENDER, House, house, message, trusting, until

EXPIRED = datetime.timedelta(hours=-1)


def listener(name: str, pair: tuple[Path, Path], **more: Any) -> dict[str, Any]:
    """A listener inside with a certificate."""
    client_ca = more.pop("client_ca", None)
    tls = {"certificate": str(pair[0]), "key": str(pair[1])} | ({"client_ca": str(client_ca)} if client_ca else {})
    return {"name": name, "side": "inside", "addresses": ["127.0.0.1:0"], "require_tls": False, "tls": tls, **more}


def routes(ca: Authority, ways: dict[str, tuple[int, str]]) -> dict[str, str]:
    """A route for NAME.example to each port with its level; the CA is trusted where a level looks."""
    lines = [
        f'  - {{name: {name}, to: [{name}.example], smart_host: "127.0.0.1:{port}", tls: {level}, ca_file: {ca.certificate}}}\n'
        for name, (port, level) in ways.items()
    ]
    return {"routes.yaml": "routes:\n" + "".join(lines), "recipients.yaml": ""}


async def attempted(sluis: House, identity: Any, count: int) -> list[Any]:
    """Waits until every recipient has met its next hop once."""
    await until(lambda: [row.outcome is not None for row in sluis.rows(identity)] == [True] * count, "an attempt for each")
    return sluis.rows(identity)


def old_client(ca: Authority) -> ssl.SSLContext:
    """One that knows TLS 1.1 only."""
    context = trusting(ca.certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # an old client is what is wanted here
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def weak_client(ca: Authority) -> ssl.SSLContext:
    """TLS 1.2 with a cipher suite of block chaining, which NCSC-NL phases out."""
    context = trusting(ca.certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA@SECLEVEL=0")
    return context


def test_tls_that_is_required_on_the_way_in_and_missing_is_530_and_old_tls_is_no_tls(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        ca = make_ca(tmp_path / "ca")
        pair = issue(ca, [NAME])
        clients = """\
clients:
  - {name: mailserver, side: inside, addresses: [127.0.0.1/32], may_send_as: [prosecution.example], may_send_to: ["*"]}
"""
        doors = [listener("strict", pair, require_tls=True), listener("offers", pair), listener("smtps", pair, implicit_tls=True)]
        async with (
            Sink() as sink,
            house(tmp_path, database, outside=sink.port, policy={"clients.yaml": clients}, listeners=doors) as sluis,
        ):
            for door in ("strict", "offers"):  # the listener demands it; the client's policy demands it
                async with talking(sluis.port(door)) as client:
                    assert await client.say(f"MAIL FROM:<{SENDER}>") == "530 5.7.0 Must issue a STARTTLS command first"
                    await client.secure(trusting(ca.certificate))
                    reply = await client.send(message())
                await sluis.until_states(reply, "delivered")
            async with talking(sluis.port("smtps"), tls=trusting(ca.certificate)) as client:
                assert "STARTTLS" not in client.offered
                await sluis.until_states(await client.send(message()), "delivered")
            assert len(sink.messages) == 3
            for context in (old_client(ca), weak_client(ca)):
                async with talking(sluis.port("strict")) as client:
                    with pytest.raises((ssl.SSLError, ConnectionError)):
                        await client.secure(context)
            refused = [event for event in await sluis.events("refused") if event["result"] == "530"]
            assert len(refused) == 1, "what policy refuses is an event"

    asyncio.run(story())


def test_tls_that_is_required_on_the_way_out_and_not_to_be_had_keeps_mail_waiting(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        ca, stranger = make_ca(tmp_path / "ca"), make_ca(tmp_path / "stranger")
        good = issue(ca, ["mx.court.example"], ["127.0.0.1"])
        async with (
            Sink() as bare,
            Sink(certificate=issue(ca, ["mx.court.example"], ["192.0.2.1"])) as misnamed,
            Sink(certificate=issue(stranger, ["mx.court.example"], ["127.0.0.1"])) as unknown,
            Sink(certificate=issue(ca, ["mx.court.example"], ["127.0.0.1"], valid=EXPIRED)) as expired,
            Sink(Behaviour(replies={"STARTTLS": "454 4.7.0 TLS not available"}), certificate=good) as unwilling,
        ):
            ways = {
                "bare": (bare.port, "verified"),
                "misnamed": (misnamed.port, "verified"),
                "unknown": (unknown.port, "verified"),
                "expired": (expired.port, "verified"),
                "unwilling": (unwilling.port, "verified"),
                "encrypted-bare": (bare.port, "encrypted"),
                "encrypted-unknown": (unknown.port, "encrypted"),
            }
            async with house(tmp_path, database, policy=routes(ca, ways)) as sluis:
                reply = await sluis.send(message(), to=[f"clerk@{name}.example" for name in ways])
                rows = await attempted(sluis, reply.id, len(ways))
                assert [row.state for row in rows] == ["ready"] * 6 + ["delivered"], "encrypted takes any certificate, and no plaintext"
                assert [row.outcome["status"] for row in rows] == ["4.7.4", "4.7.5", "4.7.5", "4.7.5", "4.7.0", "4.7.4", "2.0.0"]
                (taken,) = unknown.messages
                assert taken.envelope.tls == "TLSv1.3"
                assert taken.envelope.addresses == ["clerk@encrypted-unknown.example"]
                for hop in (bare, misnamed, expired, unwilling):
                    assert hop.messages == []
                    assert {line.split()[0] for line in hop.commands} <= {"EHLO", "STARTTLS", "QUIT"}, "not even an address is told"
                # The next hop puts its certificate right: what waited goes.
                await misnamed.stop()
                async with Sink(certificate=good) as mended:
                    await mended.stop()
                    await mended.start(misnamed.port)
                    await until(lambda: sluis.states(reply.id)[1] == "delivered", "the delivery to the mended next hop")
                    assert mended.messages[0].envelope.tls == "TLSv1.3"
                    assert mended.messages[0].envelope.addresses == ["clerk@misnamed.example"]

    asyncio.run(story())


def test_opportunistic_tls_is_used_where_offered_and_a_failed_handshake_never_ends_in_plaintext(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        ca, stranger = make_ca(tmp_path / "ca"), make_ca(tmp_path / "stranger")
        pair = issue(stranger, ["somewhere.example"])
        async with (
            Sink() as bare,
            Sink(certificate=pair) as any_certificate,
            Sink(Behaviour(break_handshake=True), certificate=pair) as broken,
            Sink(certificate=pair, tls_maximum=ssl.TLSVersion.TLSv1_1) as old,
        ):
            hops = {"bare": bare, "any": any_certificate, "broken": broken, "old": old}
            ways = {name: (hop.port, "opportunistic") for name, hop in hops.items()}
            async with house(tmp_path, database, policy=routes(ca, ways)) as sluis:
                reply = await sluis.send(message(), to=[f"clerk@{name}.example" for name in ways])
                rows = await attempted(sluis, reply.id, len(ways))
                # A second attempt, and it has not learned to do without.
                await until(lambda: broken.connections > 1 and old.connections > 1, "a second attempt")
                assert sluis.states(reply.id) == ["delivered", "delivered", "ready", "ready"]
                assert [row.outcome["status"] for row in rows] == ["2.0.0", "2.0.0", "4.7.5", "4.7.5"]
                assert (bare.messages[0].envelope.tls, any_certificate.messages[0].envelope.tls) == (None, "TLSv1.3")
                for hop in (broken, old):
                    assert not any(line.startswith(("MAIL", "RCPT", "DATA")) for line in hop.commands)

    asyncio.run(story())


def test_mail_exchangers_are_tried_in_order_over_ipv6_and_ipv4_and_must_show_their_own_name(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        ca = make_ca(tmp_path / "ca")
        pair = issue(ca, ["mx1.court.example", "mx2.court.example"])
        records = {
            ("court.example", "MX"): ["20 mx2.court.example.", "10 mx1.court.example."],
            ("mx1.court.example", "AAAA"): ["::1"],
            ("mx2.court.example", "A"): ["127.0.0.1"],
            ("impostor.example", "MX"): ["10 mx.impostor.example."],
            ("mx.impostor.example", "A"): ["127.0.0.1"],
            ("nomail.example", "MX"): ["0 ."],
        }
        async with (
            NameServer(records) as dns,
            Sink(certificate=pair) as second,
            Sink(certificate=pair, address="::1") as first,
            Sink() as home,
        ):
            await first.stop()
            await first.start(second.port)
            policy = {
                "routes.yaml": f"""\
routes:
  - {{name: inside, to: [prosecution.example], smart_host: "127.0.0.1:{home.port}", tls: none}}
  - {{name: world, to: ["*"], tls: verified, ca_file: {ca.certificate}, port: {second.port}}}
"""
            }
            settings = {"delivery": {"resolver": [dns.address]}}
            async with house(tmp_path, database, policy=policy, settings=settings) as sluis:
                reply = await sluis.send(message(), to=[CLERK, "clerk@impostor.example", "clerk@nomail.example", "clerk@nowhere.example"])
                rows = await attempted(sluis, reply.id, 4)
                assert [row.state for row in rows] == ["delivered", "ready", "bounced", "bounced"]
                assert [row.outcome["status"] for row in rows] == ["2.0.0", "4.7.5", "5.1.10", "5.1.2"]
                assert first.messages[0].envelope.addresses == [CLERK], "the preferred one, over IPv6"
                assert first.server_names == ["mx1.court.example"], "and it is told whom we want to see"
                assert second.messages == []
                await first.stop()
                again = await sluis.send(message())
                await sluis.until_states(again, "delivered")
                assert second.messages[0].envelope.addresses == [CLERK]
                assert "mx2.court.example" in second.server_names

    asyncio.run(story())


def fingerprint(chain: Path) -> str:
    """As policy has it."""
    der = x509.load_pem_x509_certificate(chain.read_bytes()).public_bytes(Encoding.DER)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def test_a_certificate_says_who_the_client_is(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        ca, stranger = make_ca(tmp_path / "ca"), make_ca(tmp_path / "stranger")
        pair = issue(ca, [NAME])
        named, pinned, other = (issue(ca, [f"{name}.prosecution.example"]) for name in ("named", "pinned", "other"))
        clients = f"""\
clients:
  - {{name: named, side: inside, certificates: [named.prosecution.example], may_send_as: [prosecution.example], may_send_to: ["*"]}}
  - {{name: pinned, side: inside, certificates: ["{fingerprint(pinned[0])}"], may_send_as: [prosecution.example], may_send_to: ["*"]}}
"""

        def context(shown: tuple[Path, Path] | None) -> ssl.SSLContext:
            made = trusting(ca.certificate)
            if shown is not None:
                made.load_cert_chain(*shown)
            return made

        async with (
            Sink() as sink,
            house(
                tmp_path,
                database,
                outside=sink.port,
                policy={"clients.yaml": clients},
                listeners=[listener("mutual", pair, client_ca=ca.certificate)],
            ) as sluis,
        ):
            for shown, expected in ((named, "named"), (pinned, "pinned")):
                async with talking(sluis.port("mutual")) as client:
                    await client.secure(context(shown))
                    reply = await client.send(message())
                (row,) = await sluis.until_states(reply, "delivered")
                assert row.m_client == expected
                assert row.m_peer["tls"]["certificate_sha256"] == fingerprint(shown[0]).removeprefix("sha256:")
            for nobody in (other, None):
                async with talking(sluis.port("mutual")) as client:
                    await client.secure(context(nobody))
                    assert (await client.send(message())).code == 550
            async with talking(sluis.port("mutual")) as client:
                with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
                    await client.secure(context(issue(stranger, ["named.prosecution.example"])))
            assert len(sink.messages) == 2, "a right name from a wrong authority is nobody, and never a client"

    asyncio.run(story())


def copied(pair: tuple[Path, Path], to: tuple[Path, Path]) -> None:
    """A renewed certificate in the place of the old one."""
    for source, target in zip(pair, to, strict=True):
        target.write_bytes(source.read_bytes())


def test_a_renewed_certificate_is_shown_to_the_next_handshake_after_sighup(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        ca = make_ca(tmp_path / "ca")
        old, new = issue(ca, [NAME]), issue(ca, [NAME])
        pair = (tmp_path / "server.pem", tmp_path / "server.key")
        copied(old, pair)
        doors = [listener("starttls", pair), listener("smtps", pair, implicit_tls=True)]

        async def shown(sluis: House) -> set[str]:
            found = set()
            async with talking(sluis.port("starttls")) as client:
                found.add((await client.secure(trusting(ca.certificate))).getpeercert(binary_form=True))
            async with talking(sluis.port("smtps"), tls=trusting(ca.certificate)) as client:
                found.add(client.tls.getpeercert(binary_form=True))
            return {f"sha256:{hashlib.sha256(der or b'').hexdigest()}" for der in found}

        async with Sink() as sink, house(tmp_path, database, outside=sink.port, listeners=doors) as sluis:
            assert await shown(sluis) == {fingerprint(old[0])}
            async with talking(sluis.port("starttls")) as open_session:
                await open_session.secure(trusting(ca.certificate))
                copied(new, pair)
                await sluis.reload()
                assert await shown(sluis) == {fingerprint(new[0])}
                await sluis.until_states(await open_session.send(message()), "delivered")
            # A broken one: the last good one goes on, and so does the policy that came with it: all or nothing.
            pair[1].write_text("no key")
            sluis.write_policy({"clients.yaml": ""})
            await sluis.reload(says='"not reloaded"')
            assert await shown(sluis) == {fingerprint(new[0])}
            await sluis.until_states(await sluis.send(message()), "delivered")
            assert str(pair[0]) in sluis.log()

    asyncio.run(story())


def test_a_login_at_the_next_hop_is_said_under_tls_only_and_a_wrong_one_bounces_nothing(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        ca = make_ca(tmp_path / "ca")
        pair = issue(ca, ["mx"], ["127.0.0.1"])
        logins = {"sluis": "right-password"}
        async with (
            Sink(Behaviour(logins=logins), certificate=pair) as plain,
            Sink(Behaviour(logins=logins, auth="LOGIN"), certificate=pair) as login,
            Sink(Behaviour(logins={"sluis": "another"}), certificate=pair) as wrong,
            Sink(Behaviour(logins=logins)) as bare,
        ):
            ways = {"plain": plain, "login": login, "wrong": wrong, "bare": bare}
            policy = routes(ca, {name: (hop.port, "opportunistic" if hop is bare else "verified") for name, hop in ways.items()})
            policy["routes.yaml"] = policy["routes.yaml"].replace("tls:", "login: smart-host, tls:")
            async with house(tmp_path, database, policy=policy, started=False) as sluis:
                secret = sluis.folder / "secrets" / "smart-host"
                secret.write_text("sluis:right-password\n")
                secret.chmod(0o600)
                await sluis.start()
                reply = await sluis.send(message(), to=[f"clerk@{name}.example" for name in ways])
                rows = await attempted(sluis, reply.id, 4)
                assert [row.state for row in rows] == ["delivered", "delivered", "ready", "ready"]
                assert [hop.messages[0].envelope.login for hop in (plain, login)] == ["sluis", "sluis"]
                assert rows[2].outcome["status"].startswith("4."), "our login is no fault of the message"
                assert not any(line.startswith(("AUTH", "MAIL")) for line in bare.commands)
                assert "right-password" not in sluis.log()
                assert "right-password" not in str(rows)

    asyncio.run(story())


def test_postfix_and_exim_come_and_go_under_tls(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        ca = make_ca(tmp_path / "ca")
        pair = issue(ca, [NAME, "mx.court.example"], ["127.0.0.1"])
        async with running_postfix(tmp_path, domains=["court.example"], hostname="mx.court.example", certificate=pair) as next_hop:
            policy = routes(ca, {"court": (next_hop.port, "verified")})
            async with (
                house(tmp_path, database, policy=policy, listeners=[listener("strict", pair, require_tls=True)]) as sluis,
                running_postfix(tmp_path, relay_port=sluis.port("strict"), relay_tls="encrypt") as postfix,
                running_exim(tmp_path, sluis.port("strict"), relay_tls="encrypt") as exim,
            ):
                for client in (postfix, exim):
                    await asyncio.to_thread(_submit, client.port)
                mails = await next_hop.wait_for_mail(2)
                assert all(b"(using TLSv1.3 with cipher" in mail.raw and b" with ESMTPS id " in mail.raw for mail in mails)
                await until(lambda: [row.state for row in sluis.rows()] == ["delivered"] * 2, "both deliveries")
                rows = sluis.rows()
                assert {row.m_peer["helo"] for row in rows} == {"mail.organisation.example", "exim.organisation.example"}
                assert all(row.outcome["tls"].startswith("TLSv1.3 ") for row in rows)

    asyncio.run(story())


def _submit(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.sendmail(SENDER, [CLERK], message())
