"""`sluis dkim`: from making a key to a signature that verifies with what it told to publish."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ed25519

from relay.cli.dkim import command
from relay.demo.verify import verify
from relay.sign.dns_record import Published, check_record, record_text
from relay.sign.signer import Signer
from tests.fakes.custody import NOW_US, MemoryBody, claimed, stored
from tests.servers.nameserver import Records, in_a_thread
from tests.stages.sign.keys import policy
from tests.stages.sign.test_signer import MESSAGE

SIGNING = """signing:
  - domain: example.nl
    keys:
      - {selector: rsa-test, algorithm: rsa-sha256}
      - {selector: ed-test, algorithm: ed25519-sha256}
"""
ORGANISATION = "name: Example\ndomains: [example.nl]\nauthserv_id: relay.example.nl\npostmaster: postmaster@example.nl\n"


class Place:
    """A folder with settings, policy and keys, and the command run in it."""

    def __init__(self, folder: Path, resolver: str = "127.0.0.1:1") -> None:
        self.folder = folder
        self.keys = folder / "dkim"
        self.keys.mkdir()
        policies = folder / "policies"
        policies.mkdir()
        (policies / "organisation.yaml").write_text(ORGANISATION)
        (policies / "signing.yaml").write_text(SIGNING)
        self.use(resolver)

    def use(self, resolver: str) -> None:
        (self.folder / "sluis.toml").write_text(
            f'hostname = "relay.example.nl"\npolicies = "policies"\ndkim_keys = "dkim"\n[delivery]\nresolver = ["{resolver}"]\n'
        )

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(command, [*arguments, "--config", str(self.folder / "sluis.toml")])

    def make_keys(self) -> None:
        for algorithm, selector in (("rsa-sha256", "rsa-test"), ("ed25519-sha256", "ed-test")):
            assert self.run("new", "example.nl", "--algorithm", algorithm, "--selector", selector).exit_code == 0

    def published(self) -> dict[str, str]:
        return {row["name"]: row["text"] for row in json.loads(self.run("dns", "--json").stdout)}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def records(texts: dict[str, str]) -> Records:
    return {(name, "TXT"): [" ".join(f'"{text[i : i + 255]}"' for i in range(0, len(text), 255))] for name, text in texts.items()}


def test_what_it_says_to_publish_verifies_what_the_relay_signs(place: Place) -> None:
    place.make_keys()
    signing = policy().signing[0]
    entries = tuple(entry.model_copy(update={"selector": name}) for entry, name in zip(signing.keys, ("rsa-test", "ed-test"), strict=True))
    ours = policy(signing=(signing.model_copy(update={"keys": entries}),))
    signed = Signer(place.keys).sign(claimed(stored(MESSAGE)), ours, MemoryBody(MESSAGE), "relay.example.nl", NOW_US)
    dns = {name: text.encode() for name, text in place.published().items()}
    assert verify(signed.prefix + MESSAGE, dns) == dict.fromkeys(dns, True)
    assert len(dns) == 2


def test_new_makes_a_key_of_each_algorithm_that_only_its_owner_may_read(place: Place) -> None:
    result = place.run("new", "Example.NL")
    assert result.exit_code == 0
    files = sorted((place.keys / "example.nl").iterdir())
    assert [file.name.partition("-")[0] for file in files] == ["ed25519", "rsa"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((place.keys / "example.nl").stat().st_mode) == 0o700
    assert "PRIVATE" not in result.output
    assert "selector: rsa-" in result.stderr


def test_new_never_writes_over_a_key(place: Place) -> None:
    place.make_keys()
    before = (place.keys / "example.nl" / "rsa-test.pem").read_bytes()
    result = place.run("new", "example.nl", "--algorithm", "rsa-sha256", "--selector", "rsa-test")
    assert result.exit_code == 1
    assert "there is a key already" in result.stderr
    assert (place.keys / "example.nl" / "rsa-test.pem").read_bytes() == before


def test_long_records_are_split_and_short_ones_are_not(place: Place) -> None:
    place.make_keys()
    output = place.run("dns", "example.nl").stdout
    assert "rsa-test._domainkey.example.nl. IN TXT (" in output
    assert 'ed-test._domainkey.example.nl. IN TXT "v=DKIM1;' in output
    assert all(len(line.strip().strip('"')) <= 255 for line in output.splitlines() if line.startswith("    "))


@pytest.mark.parametrize("arguments", [("new", "../evil"), ("new", "a b"), ("new", "example.nl", "--selector", "x"), ("dns", "other.nl")])
def test_what_makes_no_sense_is_said_and_nothing_is_made(place: Place, arguments: tuple[str, ...]) -> None:
    result = place.run(*arguments)
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    assert list(place.keys.iterdir()) == []


def test_check_is_content_when_dns_has_the_keys(place: Place) -> None:
    place.make_keys()
    with in_a_thread(records(place.published())) as server:
        place.use(server.address)
        result = place.run("check")
    assert result.exit_code == 0
    assert result.stdout.count(": right: ") == 2


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda text: "", "missing"),
        (lambda text: text[:-8] + "AAAAAAA=", "wrong"),
        (lambda text: text.replace("k=rsa", "k=ed25519"), "wrong"),
        (lambda text: "v=DKIM1; p=", "revoked"),
        (lambda text: text.replace("v=DKIM1;", "v=DKIM1; t=y;"), "testing"),
        (lambda text: "v=DKIM1; =; p", "wrong"),
    ],
)
def test_check_says_what_is_wrong_and_exits_1(place: Place, change: "object", verdict: str) -> None:
    place.make_keys()
    texts = place.published()
    assert callable(change)
    texts["rsa-test._domainkey.example.nl"] = change(texts["rsa-test._domainkey.example.nl"])
    with in_a_thread(records({name: text for name, text in texts.items() if text})) as server:
        place.use(server.address)
        result = place.run("check", "example.nl", "--json")
    assert result.exit_code == 1
    rows = {row["name"]: row["result"] for row in json.loads(result.stdout)}
    assert rows == {"rsa-test._domainkey.example.nl": verdict, "ed-test._domainkey.example.nl": "right"}


def test_check_names_a_key_file_that_is_missing(place: Place) -> None:
    result = place.run("check")
    assert result.exit_code == 1
    assert "rsa-test.pem: no such DKIM key" in result.stderr


def test_two_records_at_one_name_are_an_error() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    text = record_text(key).encode()
    assert check_record([text], key) is Published.RIGHT
    assert check_record([text, text], key) is Published.SEVERAL
    assert check_record([text, b"google-site-verification=x"], key) is Published.RIGHT
