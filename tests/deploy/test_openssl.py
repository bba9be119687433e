"""The shipped openssl.cnf: the relay agrees on a good group of key exchange or on none, as NCSC-NL asks (2025-05), and mail goes on."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from relay.settings.models import Store
from tests.deploy.unit import FOLDER
from tests.servers.certificates import Authority, issue, make_ca
from tests.servers.sink import Sink
from tests.stories.dialogue import NAME, talking
from tests.stories.house import House, house, message, trusting

SHIPPED = FOLDER.parent / "openssl.cnf"
GOOD = ["X25519", "P-256", "X448", "P-384", "P-521"]
# insufficient, and to be phased out; OpenSSL offers them for TLS 1.3 if nobody says otherwise (RFC 7919 §2, RFC 8446 §4.2.7)
BAD = ["ffdhe2048", "ffdhe3072"]

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def agreed(port: int, group: str) -> bool:
    """Whether `openssl s_client`, with one group to offer and a configuration of its own, comes to TLS 1.3."""
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-starttls", "smtp", "-tls1_3", "-groups", group]
    environment = {name: text for name, text in os.environ.items() if name != "OPENSSL_CONF"}
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment)
    return "New, TLSv1.3" in done.stdout


async def groups_of(sluis: House) -> list[str]:
    """Those with which a handshake succeeds."""
    port = sluis.port("tls")
    return [group for group in GOOD + BAD if await asyncio.to_thread(agreed, port, group)]


def listener(ca: Authority) -> dict[str, object]:
    chain, key = issue(ca, [NAME])
    tls = {"certificate": str(chain), "key": str(key)}
    return {"name": "tls", "side": "inside", "addresses": ["127.0.0.1:0"], "tls": tls}


def test_only_good_groups_are_agreed_on_and_mail_goes_in_and_out_under_tls(
    tmp_path: Path, database: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENSSL_CONF", str(SHIPPED))  # for the relay: this process has read its own already

    async def story() -> None:
        ca = make_ca(tmp_path / "ca")
        async with Sink(certificate=issue(ca, ["mx.court.example"], ["127.0.0.1"])) as sink:
            route = (
                f'routes:\n  - {{name: out, to: ["*"], smart_host: "127.0.0.1:{sink.port}", tls: verified, ca_file: {ca.certificate}}}\n'
            )
            policy = {"routes.yaml": route, "recipients.yaml": ""}
            async with house(tmp_path, database, policy=policy, listeners=[listener(ca)]) as sluis:
                assert await groups_of(sluis) == GOOD
                async with talking(sluis.port("tls")) as client:
                    await client.secure(trusting(ca.certificate))
                    reply = await client.send(message())
                await sluis.until_states(reply, "delivered")
                [arrived] = sink.messages
                assert arrived.envelope.tls == "TLSv1.3"

    asyncio.run(story())


def test_without_the_file_openssl_agrees_on_the_others_too(tmp_path: Path, database: Store) -> None:
    """Why the file is there; when this test fails, it may no longer be needed."""

    async def story() -> None:
        async with house(tmp_path, database, listeners=[listener(make_ca(tmp_path / "ca"))]) as sluis:
            assert await groups_of(sluis) == GOOD + BAD

    asyncio.run(story())
