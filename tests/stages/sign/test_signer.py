"""Signatures and the trace field, checked by verifiers that others wrote."""

import re
from dataclasses import replace
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from relay.demo.verify import verify
from relay.model.client import Side
from relay.model.effects import Effects
from relay.model.errors import ConfigurationError
from relay.model.features import Inspection
from relay.policy.models import Client
from relay.sign.dns_record import record_text
from relay.sign.signer import Signer
from relay.sign.tried import try_key, verifies
from tests.fakes.custody import NOW_US, MemoryBody, claimed, stored
from tests.stages.sign import opendkim
from tests.stages.sign.keys import DOMAIN, ED25519, RSA, policy, txt_record, write_key

MESSAGE = (
    b"From: Jan <jan@example.nl>\r\nTo: piet@partner.example\r\nCc: a@b.example,\r\n\tc@d.example\r\n"
    b"Subject:   Verslag  van   vandaag \r\nDate: Mon, 23 Nov 2026 10:00:00 +0100\r\nMessage-ID: <1@example.nl>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nBeste  Piet, \t\r\n\r\n .met  punt\r\n\r\n\r\n"
)
HOSTNAME = "relay.example.nl"


class Keys:
    """A folder with an RSA and an Ed25519 key, and the DNS that publishes them."""

    def __init__(self, folder: Path, bits: int = 2048, domain: str = DOMAIN) -> None:
        self.folder = folder
        self.rsa = rsa.generate_private_key(65_537, bits)
        self.ed25519 = ed25519.Ed25519PrivateKey.generate()
        write_key(folder, domain, RSA, self.rsa)
        write_key(folder, domain, ED25519, self.ed25519)
        self.records = {f"{RSA}._domainkey.{domain}": txt_record(self.rsa), f"{ED25519}._domainkey.{domain}": txt_record(self.ed25519)}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


def leaving(keys: Keys, message: bytes = MESSAGE) -> bytes:
    signed = Signer(keys.folder).sign(claimed(stored(message)), policy(), MemoryBody(message), HOSTNAME, NOW_US)
    return signed.prefix + message


def test_both_signatures_verify_by_the_rfcs(keys: Keys) -> None:
    assert verify(leaving(keys), keys.records) == dict.fromkeys(keys.records, True)


def test_the_rsa_signature_verifies_with_dkimpy(keys: Keys) -> None:
    verifier = dkim.DKIM(leaving(keys))
    assert verifier.verify(idx=0, dnsfunc=lambda name, timeout=5: keys.records[name.decode().rstrip(".")])
    assert verifier.selector == RSA.encode()


def test_both_signatures_verify_with_opendkim(keys: Keys, tmp_path: Path) -> None:
    original = leaving(keys)
    assert opendkim.verify(original, keys.records, tmp_path) == dict.fromkeys(keys.records, True)
    changed = original.replace(b"Beste  Piet", b"Beste  Kees")
    assert opendkim.verify(changed, keys.records, tmp_path) == dict.fromkeys(keys.records, False)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Subject:   Verslag", b"Subject: Ander verslag"),
        (b"\r\n\r\nBeste  Piet", b"\r\n\r\nBeste  Kees"),
        (b"From: Jan", b"From: other@evil.example\r\nFrom: Jan"),
        (b"Subject:", b"Subject: extra\r\nSubject:"),
        (b"Content-Type:", b"Content-Type: text/html\r\nContent-Type:"),
        (b"Date:", b"Date: Tue, 24 Nov 2026 10:00:00 +0100\r\nDate:"),
        (b"To: piet", b"To: x@y.example\r\nTo: piet"),
    ],
)
def test_a_changed_or_added_field_or_body_breaks_both_signatures(keys: Keys, old: bytes, new: bytes) -> None:
    original = leaving(keys)
    start = original.index(b"From: Jan")  # the same words stand in the h= list before it
    changed = original[:start] + original[start:].replace(old, new, 1)
    assert changed != original
    assert verify(changed, keys.records) == dict.fromkeys(keys.records, False)


def test_relaxed_changes_on_the_way_do_not_break_a_signature(keys: Keys) -> None:
    changed = leaving(keys).replace(b"Subject:   Verslag  van   vandaag \r\n", b"SUBJECT: Verslag van\r\n vandaag\r\n")
    assert verify(changed, keys.records) == dict.fromkeys(keys.records, True)


def test_a_list_may_add_its_own_fields(keys: Keys) -> None:
    changed = leaving(keys).replace(b"MIME-Version:", b"List-Id: <l.example>\r\nMIME-Version:", 1)
    assert verify(changed, keys.records) == dict.fromkeys(keys.records, True)


def test_rsa_3072_signs(tmp_path: Path) -> None:
    keys = Keys(tmp_path, bits=3072)
    assert verify(leaving(keys), keys.records) == dict.fromkeys(keys.records, True)


def test_a_very_long_domain_is_never_folded(tmp_path: Path) -> None:
    domain = ".".join(["a" * 60, "b" * 60, "c" * 60, "example"])
    keys = Keys(tmp_path, domain=domain)
    message = MESSAGE.replace(b"jan@example.nl", b"jan@" + domain.encode())
    signed = Signer(keys.folder).sign(claimed(stored(message)), policy(domain), MemoryBody(message), HOSTNAME, NOW_US)
    assert verify(signed.prefix + message, keys.records) == dict.fromkeys(keys.records, True)


def test_signing_the_same_message_at_the_same_time_gives_the_same_bytes(keys: Keys) -> None:
    assert leaving(keys) == leaving(keys)
    assert b"t=%d;" % (NOW_US // 1_000_000) in leaving(keys)


def test_only_the_header_of_a_large_message_is_read(keys: Keys) -> None:
    message = MESSAGE + b"x" * 70 + b"\r\n" * 500_000
    body = MemoryBody(message)
    signed = Signer(keys.folder).sign(claimed(stored(message)), policy(), body, HOSTNAME, NOW_US)
    assert body.octets_read == 65_536
    assert verify(signed.prefix + message, keys.records) == dict.fromkeys(keys.records, True)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_header_that_comes_in_tiny_chunks_is_signed_the_same(keys: Keys, size: int) -> None:
    signed = Signer(keys.folder).sign(claimed(stored(MESSAGE)), policy(), MemoryBody(MESSAGE, size), HOSTNAME, NOW_US)
    assert signed.prefix + MESSAGE == leaving(keys)


@pytest.mark.parametrize(
    "message",
    [
        MESSAGE.replace(b"jan@example.nl", b"jan@elsewhere.example"),
        MESSAGE.replace(b"jan@example.nl", b"jan@sub.example.nl"),
        MESSAGE.replace(b"From: Jan", b"From: <kees@other.example>\r\nFrom: Jan"),
        MESSAGE.replace(b"From: Jan", b"From: <jan@example.nl>\r\nFrom: Jan"),
        MESSAGE.replace(b"From: Jan <jan@example.nl>\r\n", b""),
        MESSAGE.replace(b"To: piet", b"a line that is no field\r\nTo: piet"),
    ],
)
def test_mail_that_is_not_plainly_from_the_signing_domain_is_not_signed(keys: Keys, message: bytes) -> None:
    signed = Signer(keys.folder).sign(claimed(stored(message)), policy(), MemoryBody(message), HOSTNAME, NOW_US)
    assert b"DKIM-Signature" not in signed.prefix
    assert signed.prefix.startswith(b"Received:")


def test_mail_of_an_unauthorised_sender_is_not_signed(keys: Keys) -> None:
    message = stored(MESSAGE, authorised=False)
    assert b"DKIM" not in Signer(keys.folder).sign(claimed(message), policy(), MemoryBody(MESSAGE), HOSTNAME, NOW_US).prefix


def test_mail_of_a_client_that_forwards_is_never_signed(keys: Keys) -> None:
    forwarder = Client(name="exchange", side=Side.INSIDE, forwards=True)
    signed = Signer(keys.folder).sign(claimed(stored(MESSAGE)), policy(clients=(forwarder,)), MemoryBody(MESSAGE), HOSTNAME, NOW_US)
    assert b"DKIM" not in signed.prefix


def test_an_international_sender_domain_is_signed_under_its_a_labels(tmp_path: Path) -> None:
    keys = Keys(tmp_path, domain="xn--mller-kva.example")
    message = MESSAGE.replace(b"jan@example.nl", "jan@müller.example".encode())
    signed = Signer(keys.folder).sign(claimed(stored(message)), policy("müller.example"), MemoryBody(message), HOSTNAME, NOW_US)
    assert verify(signed.prefix + message, keys.records) == dict.fromkeys(keys.records, True)


def test_a_forged_results_field_does_not_leave_and_is_not_signed(keys: Keys) -> None:
    forged = b"Authentication-Results: relay.example.nl; dkim=pass\r\n"
    message = forged + MESSAGE
    header = replace(stored(message).inspection.header, forged_results=((0, len(forged)),))
    stored_message = stored(message, inspection=Inspection(header=header))
    signed = Signer(keys.folder).sign(claimed(stored_message), policy(), MemoryBody(message), HOSTNAME, NOW_US)
    assert signed.skip == ((0, len(forged)),)
    assert verify(signed.prefix + MESSAGE, keys.records) == dict.fromkeys(keys.records, True)


def test_every_line_of_the_prefix_is_short_and_crlf_ended(keys: Keys) -> None:
    prefix = Signer(keys.folder).sign(claimed(stored(MESSAGE)), policy(), MemoryBody(MESSAGE), HOSTNAME, NOW_US).prefix
    assert prefix.endswith(b"\r\n")
    assert max(len(line) for line in prefix.split(b"\r\n")) <= 78
    assert re.fullmatch(rb"(?:[!-~\t ]+\r\n)+", prefix)


class TestKeyFiles:
    """A key that policy asks for and that can't be used stops the mail: it does not leave unsigned."""

    def sign(self, folder: Path) -> bytes:
        return Signer(folder).sign(claimed(stored(MESSAGE)), policy(), MemoryBody(MESSAGE), HOSTNAME, NOW_US).prefix

    def test_a_missing_key_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=f"{DOMAIN}/{RSA}.pem: no such DKIM key"):
            self.sign(tmp_path)

    def test_a_key_that_others_may_read_is_refused(self, tmp_path: Path) -> None:
        keys = Keys(tmp_path)
        (tmp_path / DOMAIN / f"{RSA}.pem").chmod(0o644)
        with pytest.raises(ConfigurationError, match="others may read"):
            self.sign(keys.folder)

    def test_rubbish_is_refused_without_its_content(self, tmp_path: Path) -> None:
        Keys(tmp_path)
        (tmp_path / DOMAIN / f"{RSA}.pem").write_text("s3cret")
        with pytest.raises(ConfigurationError, match="not an unencrypted private key") as caught:
            self.sign(tmp_path)
        assert "s3cret" not in str(caught.value)

    def test_a_small_rsa_key_is_refused(self, tmp_path: Path) -> None:
        Keys(tmp_path)
        write_key(tmp_path, DOMAIN, RSA, rsa.generate_private_key(65_537, 1024))
        with pytest.raises(ConfigurationError, match="1024 bits"):
            self.sign(tmp_path)

    def test_a_key_of_the_other_algorithm_is_refused(self, tmp_path: Path) -> None:
        keys = Keys(tmp_path)
        write_key(tmp_path, DOMAIN, RSA, keys.ed25519)
        with pytest.raises(ConfigurationError, match="the policy says rsa-sha256"):
            self.sign(tmp_path)

    def test_a_new_key_file_is_used_without_restart(self, tmp_path: Path) -> None:
        keys = Keys(tmp_path)
        signer = Signer(tmp_path, look_seconds=0)
        signer.sign(claimed(stored(MESSAGE)), policy(), MemoryBody(MESSAGE), HOSTNAME, NOW_US)
        newer = Keys(tmp_path)
        prefix = signer.sign(claimed(stored(MESSAGE)), policy(), MemoryBody(MESSAGE), HOSTNAME, NOW_US).prefix
        assert verify(prefix + MESSAGE, newer.records) == dict.fromkeys(newer.records, True)
        assert verify(prefix + MESSAGE, keys.records) == dict.fromkeys(keys.records, False)

    @pytest.mark.parametrize("selector", ["../../etc/passwd", "a/b", "", ".", "a..b", "a b"])
    def test_a_selector_never_leaves_the_keys_folder(self, tmp_path: Path, selector: str) -> None:
        signing = policy().signing[0]
        changed = policy(signing=(signing.model_copy(update={"keys": (signing.keys[0].model_copy(update={"selector": selector}),)}),))
        with pytest.raises(ConfigurationError, match="no DKIM selector"):
            Signer(tmp_path).sign(claimed(stored(MESSAGE)), changed, MemoryBody(MESSAGE), HOSTNAME, NOW_US)


def test_an_rsa_key_is_tried_with_dkimpy_before_it_signs(keys: Keys) -> None:
    try_key(keys.rsa, "rsa-sha256", keys.folder)

    signed, record = leaving(keys), record_text(keys.rsa)
    assert verifies(signed, record)
    assert not verifies(signed.replace(b"Verslag", b"Verslog"), record)
    assert not verifies(signed.replace(b"Piet", b"Pier"), record)
    assert not verifies(signed, record_text(rsa.generate_private_key(65_537, 2048)))


def test_fields_of_a_rule_stand_in_front_and_break_no_signature(keys: Keys) -> None:
    effects = Effects(fields=(("Comments", "seen"), ("X-Sluis-Kind", "case file")))
    claim = replace(claimed(stored(MESSAGE)), effects=effects)
    signed = Signer(keys.folder).sign(claim, policy(), MemoryBody(MESSAGE), HOSTNAME, NOW_US)
    fields = signed.prefix.index(b"Comments: seen\r\nX-Sluis-Kind: case file\r\nReceived: ")
    assert signed.prefix.rindex(b"DKIM-Signature:") < fields, "signatures stand on top"
    assert verify(signed.prefix + MESSAGE, keys.records) == dict.fromkeys(keys.records, True)
