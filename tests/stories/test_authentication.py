"""Mail from outside is verified while it comes in: a real name server, a real signature, a relay that runs, and what it says and does."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relay.settings.models import Store
from tests.servers.nameserver import NameServer, Records
from tests.servers.sink import Sink
from tests.stages.authenticate.signed import record, signed, zone
from tests.stories.house import CLERK, SENDER, House, Reply, house, message

on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

RULES = """\
rules:
  - {name: pass, then: deliver, because: ordinary mail}
  - {name: forged, when: {direction: [inbound], authentication: {dmarc: [fail], dmarc_policy: [reject]}}, then: quarantine, because: forged}
"""
NAMES: Records = {
    ("court.example", "TXT"): ['"v=spf1 ip4:127.0.0.7 -all"'],
    ("_dmarc.court.example", "TXT"): ['"v=DMARC1; p=reject"'],
    ("s1._domainkey.court.example", "TXT"): [zone(record())],
    ("court.example", "A"): ["127.0.0.7"],
    ("mute.example", "TXT"): ['"v=spf1 -all"'],
}
INBOUND = message("Verdict", From=f"Clerk <{CLERK}>", To=SENDER)
FORGED = b"Authentication-Results: relay.prosecution.example; dmarc=pass\r\n"
REASON = ("--reason", "a test")


async def arrives(sluis: House, raw: bytes, source: str = "127.0.0.9", sender: str = CLERK) -> Reply:
    return await sluis.send(raw, sender=sender, to=[SENDER], listener="outside", source=source)


async def shown(sluis: House, reply: Reply) -> Any:
    return (await sluis.sluis("message", "show", reply.id.hex, *REASON, "--json")).json["message"]["inspection"].get("authentication")


def test_mail_from_outside_is_by_whom_it_says_or_waits(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with (
            NameServer(dict(NAMES), silent={"mute.example", "_dmarc.mute.example"}) as names,
            Sink() as sink,
            Sink() as home,
            house(
                tmp_path,
                database,
                outside=sink.port,
                inside=home.port,
                policy={"rules/pass.yaml": RULES},
                settings={"delivery": {"poll": 0.05, "schedule": [0.2], "resolver": [names.address]}},
            ) as sluis,
        ):
            by_address = await arrives(sluis, FORGED + INBOUND, source="127.0.0.7")
            await sluis.until_states(by_address, "delivered")
            top = home.messages[0].raw.decode()
            assert top.startswith(
                "Authentication-Results: relay.prosecution.example;\r\n\tspf=pass smtp.mailfrom=court.example;\r\n"
                "\tdkim=none;\r\n\tdmarc=pass (p=reject) header.from=court.example\r\nReceived: "
            )
            assert top.count("Authentication-Results") == 1, "the forged one does not leave"

            by_signature = await arrives(sluis, signed(INBOUND, domain="court.example"))
            await sluis.until_states(by_signature, "delivered")
            found = await shown(sluis, by_signature)
            assert (found["spf"], found["dkim"], found["dmarc"]) == ("fail", "pass", "pass")

            forged = await arrives(sluis, INBOUND)
            assert (forged.code, sluis.states(forged.id)) == (250, ["quarantined"])
            said = (await sluis.sluis("policy", "explain", forged.id.hex, *REASON)).out
            assert "forged" in said
            assert "dmarc: fail" in said
            text = (await sluis.sluis("message", "show", forged.id.hex, *REASON)).out
            assert "authentication: spf fail (court.example); dkim none; dmarc fail (court.example, which asks for reject)" in text

            names.records[("court.example", "TXT")] = ['"v=spf1 +all"']  # what was known when it came in stays so
            assert (await sluis.sluis("quarantine", "release", f"{forged.id.hex}/0", *REASON)).code == 0
            await sluis.until_states(forged, "delivered")
            assert (await shown(sluis, forged))["spf"] == "fail"

            mute = await arrives(sluis, message(From="x@mute.example", To=SENDER), sender="x@mute.example")
            await sluis.until_states(mute, "delivered")
            assert [(await shown(sluis, mute))[key] for key in ("spf", "dkim", "dmarc")] == ["temperror", "none", "temperror"]

            before = len(names.asked)
            outbound = await sluis.send(message())
            await sluis.until_states(outbound, "delivered")
            assert await shown(sluis, outbound) is None
            assert not [name for name, kind in names.asked[before:] if kind == "TXT"], "nothing is asked of our own mail"

            told = (await sluis.sluis("policy", "replay", "--processes", "1", "--json")).json
            assert (told["differ"], told["not_known"]) == (0, 0), told

    asyncio.run(story())


@on_sqlite
def test_where_no_rule_asks_nobody_does_and_a_later_rule_finds_that_nobody_knows(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with NameServer(dict(NAMES)) as names, Sink() as home:
            settings = {"delivery": {"poll": 0.05, "schedule": [0.2], "resolver": [names.address]}}
            async with house(tmp_path, database, inside=home.port, settings=settings) as sluis:
                reply = await arrives(sluis, INBOUND)
                await sluis.until_states(reply, "delivered")
                assert not [name for name, kind in names.asked if kind == "TXT"]
                assert b"Authentication-Results" not in home.messages[0].raw
                sluis.write_policy({"rules/pass.yaml": RULES})
                told = (await sluis.sluis("policy", "replay", "--processes", "1", "--json")).json
                assert told["not_known"] == 1, told
                assert [one["condition"] for one in told["unanswered"]] == ["authentication"]

    asyncio.run(story())
