"""SIGHUP as the listeners see it: what is new opens, what is gone closes, the rest takes over its new limits and certificates."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from relay.model.errors import ConfigurationError
from relay.settings.models import TlsFiles
from tests.servers.certificates import Authority, issue, make_ca
from tests.stages.listen.listening import HOSTNAME, Door, Line, listener, listening, run, settings


async def serial(port: int, starttls: bool) -> int:
    """The serial number of the certificate that the door shows now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=None if starttls else context)
    if starttls:
        line = Line(reader, writer)
        assert (await line.hear()).startswith("220")
        await line.say("EHLO client.example")
        assert (await line.say("STARTTLS")).startswith("220")
        await writer.start_tls(context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return x509.load_der_x509_certificate(shown).serial_number


@contextlib.contextmanager
def kept_port() -> Iterator[str]:
    """An address that nobody gets by chance when its listener has closed: a socket that does not listen is bound to it, too (SO_REUSEADDR,
    socket(7))."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{kept.getsockname()[1]}"


async def refused(port: int) -> bool:
    """Whether nobody listens there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.transport.abort()
    return False


def copy_of(files: TlsFiles, folder: Path) -> TlsFiles:
    """The same certificate at a place of its own, to be replaced."""
    copy = TlsFiles(certificate=folder / "chain.pem", key=folder / "chain.key")
    copy.certificate.write_bytes(files.certificate.read_bytes())
    copy.key.write_bytes(files.key.read_bytes())
    return copy


@pytest.mark.parametrize("starttls", [True, False], ids=["starttls", "implicit"])
def test_a_renewed_certificate_is_shown_without_a_restart(
    loop: str, starttls: bool, files: TlsFiles, authority: Authority, tmp_path: Path
) -> None:
    async def dialogue() -> None:
        place = copy_of(files, tmp_path)
        door_settings = listener(tls=place, implicit_tls=not starttls)
        async with listening(None, door_settings) as door:
            before = await serial(door.port, starttls)
            chain, key = issue(authority, [HOSTNAME])
            place.certificate.write_bytes(chain.read_bytes())
            place.key.write_bytes(key.read_bytes())
            assert await serial(door.port, starttls) == before
            await door.listeners.reload(settings(door_settings))
            assert await serial(door.port, starttls) == x509.load_pem_x509_certificate(chain.read_bytes()).serial_number != before

    run(dialogue(), loop)


@pytest.mark.parametrize("starttls", [True, False], ids=["starttls", "implicit"])
def test_an_open_session_lives_through_a_new_certificate(loop: str, starttls: bool, files: TlsFiles, authority: Authority) -> None:
    async def dialogue() -> None:
        door_settings = listener(tls=files, implicit_tls=not starttls)
        async with listening(None, door_settings) as door:
            context = ssl.create_default_context(cafile=str(authority.certificate))
            options = {} if starttls else {"ssl": context, "server_hostname": HOSTNAME}
            line = await door.connect(**options)
            await line.say("EHLO client.example")
            await door.listeners.reload(settings(door_settings))
            assert (await line.say("NOOP")).startswith("250")
            await line.close()

    run(dialogue(), loop)


@pytest.mark.parametrize("after", ["another CA", "no CA"])
def test_a_client_ca_that_left_the_settings_is_trusted_no_more(
    loop: str, after: str, files: TlsFiles, authority: Authority, tmp_path: Path
) -> None:
    old, new = make_ca(tmp_path / "old"), make_ca(tmp_path / "new")
    chain, key = issue(old, ["mail.example.nl"])

    async def known(door: Door) -> bool:
        context = ssl.create_default_context(cafile=str(authority.certificate))
        context.load_cert_chain(chain, key)
        try:
            line = await door.connect(ssl=context, server_hostname=HOSTNAME)
        except (ssl.SSLError, ConnectionError, AssertionError):
            return False
        await line.to_data()
        line.send(b".\r\n")
        await line.hear()
        await line.close()
        tls = door.intake.messages[-1].peer.tls
        return tls is not None and tls.certificate_names == ("mail.example.nl",)

    async def dialogue() -> None:
        with_old = listener(tls=files.model_copy(update={"client_ca": old.certificate}), implicit_tls=True)
        with_new = files.model_copy(update={"client_ca": new.certificate if after == "another CA" else None})
        async with listening(None, with_old) as door:
            assert await known(door)
            await door.listeners.reload(settings(with_old.model_copy(update={"tls": with_new})))
            assert not await known(door)

    run(dialogue(), loop)


def test_limits_change_for_sessions_that_are_open(loop: str) -> None:
    async def dialogue() -> None:
        door_settings = listener()
        async with listening(None, door_settings) as door:
            line = await door.connect()
            assert "SIZE 52428800" in await line.say("EHLO client.example")
            await door.listeners.reload(settings(door_settings.model_copy(update={"message_size": 1000})))
            assert "SIZE 1000" in await line.say("EHLO client.example")
            await line.close()

    run(dialogue(), loop)


def test_a_new_listener_opens_and_one_that_is_gone_closes(loop: str) -> None:
    async def dialogue(address: str) -> None:
        async with listening(None, listener(name="old", addresses=(address,)), listener(name="kept")) as door:
            [(_, _, old), (_, _, kept)] = door.bound
            idle = await door.connect()
            await door.listeners.reload(settings(listener(name="kept"), listener(name="new")))
            assert await idle.hear() == "421 4.3.2 Closing down, try again later"
            assert await idle.ended()
            assert set(door.listeners.groups) == {"kept", "new"}
            assert door.listeners.groups["kept"].bound == [("127.0.0.1", kept)]
            [(_, new)] = door.listeners.groups["new"].bound
            assert await refused(old)
            assert not await refused(kept)
            assert not await refused(new)
            await idle.close()

    with kept_port() as address:
        run(dialogue(address), loop)


def test_a_long_message_on_a_listener_that_is_gone_holds_up_no_reload_and_arrives(loop: str) -> None:
    async def dialogue(address: str) -> None:
        async with listening(None, listener(name="old", addresses=(address,))) as door:
            line = await door.connect()
            await line.to_data()
            line.send(b"Subject: sl")
            await door.listeners.reload(settings(listener(name="new")))
            assert await refused(door.port)
            line.send(b"ow\r\n.\r\n")
            assert (await line.hear()).startswith("250 2.0.0")
            assert (await line.hear()).startswith("421 4.3.2")
            assert [taken.raw for taken in door.intake.messages] == [b"Subject: slow\r\n"]
            await line.close()

    with kept_port() as address:
        run(dialogue(address), loop)


@pytest.mark.parametrize("change", [{"name": "renamed"}, {"side": "outside"}, {"protocol": "lmtp"}], ids=lambda change: next(iter(change)))
def test_an_address_passes_from_one_listener_to_another(loop: str, change: dict[str, str]) -> None:
    async def dialogue() -> None:
        async with listening(None, listener()) as door:
            fixed = listener(addresses=(f"127.0.0.1:{door.port}",))
            await door.listeners.reload(settings(fixed))
            changed = type(fixed).model_validate({**fixed.model_dump(), **change})
            await door.listeners.reload(settings(changed))
            [group] = door.listeners.groups.values()
            assert group.settings == changed
            line = await door.connect()
            assert ("DSN" in await line.say("LHLO x" if "protocol" in change else "EHLO x")) == ("side" not in change)
            await line.close()

    run(dialogue(), loop)


def test_a_certificate_that_cannot_be_read_changes_nothing(loop: str, files: TlsFiles, tmp_path: Path) -> None:
    async def dialogue() -> None:
        first, second = listener(name="first"), listener(name="second", tls=files)
        async with listening(None, first, second) as door:
            broken = second.model_copy(update={"tls": files.model_copy(update={"key": tmp_path / "nowhere.key"})})
            with pytest.raises(ConfigurationError, match=r"nowhere\.key:1: No such file"):
                await door.listeners.reload(settings(first.model_copy(update={"message_size": 1000}), broken, listener(name="third")))
            assert set(door.listeners.groups) == {"first", "second"}
            line = await door.connect()
            assert "SIZE 52428800" in await line.say("EHLO client.example")
            await line.close()

    run(dialogue(), loop)


def test_an_address_that_is_taken_changes_nothing(loop: str) -> None:
    async def dialogue() -> None:
        async with listening(None, listener()) as other, listening(None, listener(name="first"), listener(name="gone")) as door:
            taken = listener(name="third", addresses=("127.0.0.1:0", f"127.0.0.1:{other.port}"))
            with pytest.raises(ConfigurationError, match=f"listener third: can't listen on 127.0.0.1:{other.port}: Address already in use"):
                await door.listeners.reload(settings(listener(name="first", message_size=1000), taken))
            assert set(door.listeners.groups) == {"first", "gone"}
            assert not await refused(door.bound[1][2])
            line = await door.connect()
            assert "SIZE 52428800" in await line.say("EHLO client.example")
            await line.close()

    run(dialogue(), loop)
