"""The floor of TLS: "good" settings of the IT Security Guidelines for Transport Layer Security of NCSC-NL, 2025-05, and nothing else."""

import asyncio
import contextlib
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from relay.listen.tls import ServerTls, server_context
from relay.model.errors import ConfigurationError
from relay.settings.models import TlsFiles
from tests.servers.certificates import Authority, issue, make_ca
from tests.stages.listen.listening import HOSTNAME, Door, listening, run

GOOD_1_2 = {
    "rsa": {"ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256"},
    "ecdsa": {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"},
}
GOOD_1_3 = {"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"}


@pytest.fixture(scope="module")
def rsa_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """With an RSA key, RSA key exchange would be possible."""
    folder = tmp_path_factory.mktemp("rsa")
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOSTNAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    made = TlsFiles(certificate=folder / "rsa.pem", key=folder / "rsa.key")
    made.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    made.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


def anything() -> ssl.SSLContext:
    """A client that takes whatever it gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def suite_of(door: Door, context: ssl.SSLContext) -> str | None:
    """The cipher suite of a handshake, or None where there is none."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=context)
    except (ssl.SSLError, ConnectionError):
        return None
    suite: str = writer.get_extra_info("cipher")[0]
    writer.transport.abort()
    return suite


async def openssl(door: Door, *options: str) -> str:
    """What `openssl s_client` says of a connection."""
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{door.port}", *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode(errors="replace")


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_tls_1_2_takes_just_the_suites_that_the_guidelines_call_good(kind: str, files: TlsFiles, rsa_files: TlsFiles) -> None:
    async def dialogue() -> set[str | None]:
        everything = anything()
        everything.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
        names = [item["name"] for item in everything.get_ciphers() if not item["name"].startswith("TLS_")]
        assert {"AES256-GCM-SHA384", "AES128-SHA", f"ECDHE-{kind.upper()}-AES256-SHA384", "DHE-RSA-AES256-GCM-SHA384"} <= set(names)
        taken = set()
        async with listening(tls=rsa_files if kind == "rsa" else files, implicit_tls=True) as door:
            for name in names:
                context = anything()
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.set_ciphers(f"{name}:@SECLEVEL=0")
                taken.add(await suite_of(door, context))
        return taken

    assert run(dialogue()) == GOOD_1_2[kind] | {None}


def test_tls_1_3_takes_just_the_suites_that_the_guidelines_call_good(files: TlsFiles) -> None:
    async def dialogue() -> None:
        async with listening(tls=files, implicit_tls=True) as door:
            for suite in sorted(GOOD_1_3):
                assert f"New, TLSv1.3, Cipher is {suite}" in await openssl(door, "-tls1_3", "-ciphersuites", suite)
            for suite in ("TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"):
                assert "Cipher is (NONE)" in await openssl(door, "-tls1_3", "-ciphersuites", suite)

    run(dialogue())


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_older_tls_is_refused(version: str, files: TlsFiles) -> None:
    async def dialogue() -> None:
        async with listening(tls=files, implicit_tls=True) as door:
            output = await openssl(door, version, "-cipher", "ALL:@SECLEVEL=0")
            assert "Cipher is (NONE)" in output
            assert "handshake has read 0 bytes and written" in output
            assert "written 0 bytes" not in output
            assert "Cipher is ECDHE" in await openssl(door, "-tls1_2")

    run(dialogue())


def test_starttls_has_the_same_floor(files: TlsFiles) -> None:
    async def dialogue() -> None:
        async with listening(tls=files) as door:
            assert "Cipher is TLS_AES_256_GCM_SHA384" in await openssl(door, "-starttls", "smtp")
            assert "Cipher is (NONE)" in await openssl(door, "-starttls", "smtp", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
            assert "Cipher is (NONE)" in await openssl(door, "-starttls", "smtp", "-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384")

    run(dialogue())


def test_there_is_no_renegotiation_and_no_compression(files: TlsFiles) -> None:
    context = server_context(files)
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


def test_a_client_certificate_is_known_by_fingerprint_and_names(loop: str, files: TlsFiles, authority: Authority, tmp_path: Path) -> None:
    ours = make_ca(tmp_path / "ours")
    chain, key = issue(ours, ["mail.example.nl"])

    async def dialogue() -> None:
        async with listening(tls=files.model_copy(update={"client_ca": ours.certificate}), implicit_tls=True) as door:
            context = ssl.create_default_context(cafile=str(authority.certificate))
            context.load_cert_chain(chain, key)
            line = await door.connect(ssl=context, server_hostname=HOSTNAME)
            await line.to_data()
            line.send(b".\r\n")
            assert (await line.hear()).startswith("250")
            await line.close()
            [taken] = door.intake.messages
            assert taken.peer.tls is not None
            assert taken.peer.tls.certificate_names == ("mail.example.nl",)
            assert (
                taken.peer.tls.certificate_sha256 == x509.load_pem_x509_certificate(chain.read_bytes()).fingerprint(hashes.SHA256()).hex()
            )

    run(dialogue(), loop)


def test_a_client_certificate_of_somebody_else_fails_the_handshake(
    loop: str, files: TlsFiles, authority: Authority, tmp_path: Path
) -> None:
    chain, key = issue(make_ca(tmp_path / "theirs"), ["mail.example.nl"])
    ours = make_ca(tmp_path / "ours")

    async def dialogue() -> None:
        async with listening(tls=files.model_copy(update={"client_ca": ours.certificate}), implicit_tls=True) as door:
            context = ssl.create_default_context(cafile=str(authority.certificate))
            context.load_cert_chain(chain, key)
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=context, server_hostname=HOSTNAME)
            with contextlib.suppress(ssl.SSLError, ConnectionError):  # under TLS 1.3 the client hears of it with the first read
                assert await reader.read() == b""
            writer.transport.abort()
            assert door.listeners.counts.sessions == 0

    run(dialogue(), loop)


def test_a_handshake_that_never_comes_holds_nobody_up(loop: str, files: TlsFiles) -> None:
    async def dialogue() -> None:
        async with listening(tls=files) as door:
            silent, other = await door.connect(), await door.connect()
            assert (await silent.say("EHLO silent.example")).startswith("250")
            assert (await silent.say("STARTTLS")).startswith("220")
            assert (await other.say("EHLO other.example")).startswith("250")
            assert (await other.say("MAIL FROM:<jan@example.nl>")).startswith("250")
            await silent.close()
            await other.close()

    run(dialogue(), loop)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        pytest.param({"certificate": "nowhere.pem"}, "nowhere.pem:1: No such file", id="no certificate"),
        pytest.param({"key": "nowhere.key"}, "nowhere.key:1: No such file", id="no key"),
        pytest.param({"key": "another.key"}, "no usable certificate with the key", id="another key"),
        pytest.param({"certificate": "empty"}, "no usable certificate", id="empty certificate"),
        pytest.param({"client_ca": "empty"}, "no usable CA certificate", id="empty CA"),
    ],
)
def test_unusable_files_are_named(missing: dict[str, str], said: str, files: TlsFiles, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    issue(make_ca(tmp_path), ["another.example"], file="another")
    with pytest.raises(ConfigurationError) as caught:
        ServerTls(files.model_copy(update={key: tmp_path / name for key, name in missing.items()}))
    assert said in str(caught.value)
