"""Postfix as edge MTA with the configuration that ships: what Sluis answers is what the sending server hears."""

import asyncio
import re
import smtplib
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from relay.settings.models import Listener
from tests.servers.certificates import issue, make_ca
from tests.servers.daemon import new_home
from tests.servers.ports import free_port
from tests.servers.postfix import Postfix, running_instance
from tests.servers.sink import EXTENSIONS, Behaviour, Sink

SHIPPED = Path(__file__).parents[2] / "deploy" / "postfix"
RECEIPT = "250 2.0.0 Ok: queued as 019ab 5f3c"
MESSAGE = "From: piet@partner.example\r\nTo: jan@example.org\r\nSubject: Hoi\r\n\r\nBeste Jan,\r\n"


@dataclass(frozen=True)
class Edge:
    """The edge MTA and its port for outbound mail."""

    postfix: Postfix
    outbound: int


@asynccontextmanager
async def running_edge(folder: Path, sink: Sink, *, outbound_from: str = "127.0.0.1/32") -> AsyncIterator[Edge]:
    """The shipped files; ports, certificate and the address of Sluis are those of the test."""
    home = new_home("edge")
    chain, key = issue(make_ca(folder / "ca"), ["mx.example.org"])
    (home / "etc").mkdir()
    pair = home / "etc" / "mx.pem"
    pair.write_bytes(key.read_bytes() + chain.read_bytes())
    changes = {"sluis_inbound": f"127.0.0.1:{sink.port}", "sluis_outbound": outbound_from, "smtpd_tls_chain_files": str(pair)}
    port, outbound = free_port(), free_port()
    main = (SHIPPED / "main.cf").read_text()
    # In place: every process warns of a parameter that stands there twice, postlogd too, which then can wait for itself.
    for name, value in changes.items():
        main, count = re.subn(rf"(?m)^{name} = .*", f"{name} = {value}", main)
        assert count == 1
    master = (SHIPPED / "master.cf").read_text()
    master = re.sub(r"(?m)^smtp( +inet)", rf"127.0.0.1:{port}\1", master)
    master = re.sub(r"(?m)^10587( +inet)", rf"127.0.0.1:{outbound}\1", master)
    async with running_instance(folder / "edge.log", home, port, main, master) as postfix:
        yield Edge(postfix, outbound)


def anybody() -> ssl.SSLContext:
    """TLS as between mail servers that do not know each other: encrypted, with any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def say(port: int, *, recipient: str = "jan@example.org", message: str = MESSAGE, tls: bool = False) -> tuple[int, bytes]:
    """The last answer that a client gets."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="mail.partner.example") as client:
        client.ehlo()
        if tls:
            client.starttls(context=anybody())
            client.ehlo()
        code, text = client.mail("piet@partner.example")
        if code < 400:
            code, text = client.rcpt(recipient)
        if code >= 400:
            return code, text
        client.docmd("DATA")
        client.send(message.encode() + b"\r\n.\r\n")
        return client.getreply()


def test_the_sending_server_hears_the_receipt_of_sluis(tmp_path: Path) -> None:
    async def story() -> None:
        behaviour = Behaviour(replies={"DOT": RECEIPT}, extensions=(*EXTENSIONS, "XFORWARD NAME ADDR PORT PROTO HELO SOURCE"))
        behaviour.replies["XFORWARD"] = "250 2.0.0 Ok"
        async with Sink(behaviour) as sink, running_edge(tmp_path, sink) as edge:
            assert await asyncio.to_thread(say, edge.postfix.port) == (250, RECEIPT[4:].encode())
            [message] = sink.messages
            assert message.raw.endswith(MESSAGE.split("\r\n\r\n")[1].encode() + b"\r\n")
            forwarded = [line for line in sink.commands if line.startswith("XFORWARD ")]
            assert any("ADDR=127.0.0.1" in line for line in forwarded)
            assert any("HELO=mail.partner.example" in line for line in forwarded)

    asyncio.run(story())


def test_what_sluis_refuses_is_refused_by_the_edge_and_no_bounce_is_made(tmp_path: Path) -> None:
    async def story() -> None:
        behaviour = Behaviour(replies={"nobody@example.org": "550 5.1.1 No such recipient"})
        async with Sink(behaviour) as sink, running_edge(tmp_path, sink) as edge:
            code, text = await asyncio.to_thread(say, edge.postfix.port, recipient="nobody@example.org")
            assert (code, text) == (550, b"5.1.1 No such recipient")
            behaviour.replies["DOT"] = "554 5.7.1 Not accepted (id 019ab)"
            assert await asyncio.to_thread(say, edge.postfix.port) == (554, b"5.7.1 Not accepted (id 019ab)")
            assert "postfix/bounce" not in edge.postfix.log.read_text()

    asyncio.run(story())


def test_with_sluis_away_the_sending_server_is_told_to_come_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with Sink() as sink, running_edge(tmp_path, sink) as edge:
            await sink.stop()
            code, _ = await asyncio.to_thread(say, edge.postfix.port)
            assert code == 451

    asyncio.run(story())


def test_the_edge_relays_for_our_domains_only_and_refuses_a_bare_line_feed(tmp_path: Path) -> None:
    async def story() -> None:
        async with Sink() as sink, running_edge(tmp_path, sink) as edge:
            code, _ = await asyncio.to_thread(say, edge.postfix.port, recipient="an@elsewhere.example")
            assert code == 554
            smuggled = MESSAGE + "\n.\nMAIL FROM:<evil@partner.example>\r\n"
            code, _ = await asyncio.to_thread(say, edge.postfix.port, message=smuggled)
            assert 500 <= code < 600
            assert sink.messages == []

    asyncio.run(story())


def test_outbound_mail_is_taken_from_sluis_under_tls_only(tmp_path: Path) -> None:
    async def story() -> None:
        async with Sink() as sink:
            async with running_edge(tmp_path, sink) as edge:
                code, text = await asyncio.to_thread(say, edge.outbound)
                assert (code, text) == (530, b"5.7.0 Must issue a STARTTLS command first")
                code, _ = await asyncio.to_thread(say, edge.outbound, tls=True, recipient="jan@example.org")
                assert code == 250
                [message] = await sink.wait_for_messages(1)  # our own domain comes back to Sluis; elsewhere it would look for an MX
                assert message.envelope.addresses == ["jan@example.org"]
            async with running_edge(tmp_path / "stranger", sink, outbound_from="192.0.2.1/32") as edge:
                code, _ = await asyncio.to_thread(say, edge.outbound, tls=True)
                assert code == 554

    (tmp_path / "stranger").mkdir()
    asyncio.run(story())


def test_postfix_knows_every_parameter_of_the_files() -> None:
    for options in (["-n"], ["-M"]):
        done = subprocess.run(["postconf", "-c", SHIPPED, *options], capture_output=True, text=True, check=True)
        assert done.stderr == ""


def test_the_edge_takes_no_larger_messages_than_sluis() -> None:
    [size] = re.findall(r"(?m)^message_size_limit = (\d+)", (SHIPPED / "main.cf").read_text())
    assert int(size) == Listener.model_fields["message_size"].default
