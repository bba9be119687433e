"""Opening connections: TLS by level, login, reuse, limits."""

import asyncio
import ssl
from pathlib import Path

import pytest

from relay.deliver.login import read_login
from relay.deliver.pool import Pool
from relay.deliver.tls import client_context
from relay.model.delivery import State
from relay.model.envelope import Recipient
from relay.model.errors import ConfigurationError
from relay.policy.models import Route, TlsLevel
from tests.fakes.custody import mailbox
from tests.fakes.dns import FakeResolver
from tests.servers.certificates import Authority, issue, make_ca
from tests.servers.sink import EXTENSIONS, Behaviour, Sink
from tests.stages.deliver.way_out import deliver, deliverer, kept_port, marked, route, run

NAME = "mx.partner.example"
DNS = FakeResolver(hosts={NAME: ["127.0.0.1"]})


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def certificate(ca: Authority) -> tuple[Path, Path]:
    return issue(ca, [NAME])


def tls_route(sink: Sink, level: TlsLevel, ca: Authority | None = None, **changes: object) -> Route:
    return route(sink, smart_host=f"{NAME}:{sink.port}", tls=level, ca_file=str(ca.certificate) if ca else None, **changes)


class TestTls:
    """Levels, and never plaintext after a failed handshake."""

    def test_verified_reaches_a_host_with_the_right_certificate(self, ca: Authority, certificate: tuple[Path, Path]) -> None:
        async def dialogue() -> None:
            async with Sink(certificate=certificate) as sink:
                [outcome] = await deliver(deliverer(DNS), tls_route(sink, TlsLevel.VERIFIED, ca))
                assert outcome.state is State.DELIVERED
                assert outcome.tls.startswith("TLSv1.3 TLS_")
                assert sink.messages[0].envelope.tls == "TLSv1.3"
                assert sink.server_names == [NAME]

        run(dialogue())

    def test_verified_refuses_a_certificate_for_another_name(self, ca: Authority) -> None:
        async def dialogue() -> None:
            async with Sink(certificate=issue(ca, ["other.example"])) as sink:
                [outcome] = await deliver(deliverer(DNS), tls_route(sink, TlsLevel.VERIFIED, ca))
                assert (outcome.state, outcome.status) == (State.READY, "4.7.5")
                assert sink.messages == []

        run(dialogue())

    def test_verified_refuses_an_unknown_ca(self, ca: Authority, tmp_path: Path) -> None:
        async def dialogue() -> None:
            async with Sink(certificate=issue(make_ca(tmp_path), [NAME])) as sink:
                [outcome] = await deliver(deliverer(DNS), tls_route(sink, TlsLevel.VERIFIED, ca))
                assert outcome.status == "4.7.5"
                assert sink.messages == []

        run(dialogue())

    def test_verified_knows_an_address_by_its_certificate(self, ca: Authority) -> None:
        async def dialogue() -> None:
            async with Sink(certificate=issue(ca, ["x.example"], ["127.0.0.1"])) as sink:
                way = route(sink, tls=TlsLevel.VERIFIED, ca_file=str(ca.certificate))
                [outcome] = await deliver(deliverer(), way)
                assert outcome.state is State.DELIVERED

        run(dialogue())

    @pytest.mark.parametrize("level", [TlsLevel.VERIFIED, TlsLevel.ENCRYPTED])
    def test_a_host_that_offers_no_tls_gets_nothing_where_tls_is_required(self, level: TlsLevel, ca: Authority) -> None:
        async def dialogue() -> None:
            async with Sink() as sink:
                [outcome] = await deliver(deliverer(DNS), tls_route(sink, level, ca))
                assert (outcome.state, outcome.status) == (State.READY, "4.7.4")
                assert not any(command.startswith("MAIL") for command in sink.commands)

        run(dialogue())

    def test_opportunistic_takes_tls_with_any_certificate(self, tmp_path: Path) -> None:
        async def dialogue() -> None:
            async with Sink(certificate=issue(make_ca(tmp_path), ["whoever.example"])) as sink:
                [outcome] = await deliver(deliverer(DNS), tls_route(sink, TlsLevel.OPPORTUNISTIC))
                assert outcome.tls.startswith("TLSv1.3")

        run(dialogue())

    def test_opportunistic_is_plain_only_where_nothing_is_offered(self) -> None:
        async def dialogue() -> None:
            async with Sink() as sink:
                [outcome] = await deliver(deliverer(DNS), tls_route(sink, TlsLevel.OPPORTUNISTIC))
                assert (outcome.state, outcome.tls) == (State.DELIVERED, "")

        run(dialogue())

    @pytest.mark.parametrize(
        "behaviour",
        [Behaviour(break_handshake=True), Behaviour(replies={"STARTTLS": "454 4.7.0 Not now"}), Behaviour(drop_at={"STARTTLS"})],
    )
    def test_never_plaintext_after_a_failed_handshake(self, behaviour: Behaviour, certificate: tuple[Path, Path]) -> None:
        async def dialogue() -> None:
            async with Sink(behaviour, certificate=certificate) as sink:
                [outcome] = await deliver(deliverer(DNS), tls_route(sink, TlsLevel.OPPORTUNISTIC))
                assert outcome.state is State.READY
                assert outcome.status.startswith("4.")
                assert not any(command.startswith("MAIL") for command in sink.commands)
                assert sink.messages == []

        run(dialogue())

    def test_tls_1_1_is_refused(self, certificate: tuple[Path, Path]) -> None:
        async def dialogue() -> None:
            async with Sink(certificate=certificate, tls_maximum=ssl.TLSVersion.TLSv1_1) as sink:
                [outcome] = await deliver(deliverer(DNS), tls_route(sink, TlsLevel.OPPORTUNISTIC))
                assert outcome.status == "4.7.5"
                assert sink.messages == []

        run(dialogue())

    def test_tls_1_2_is_taken_with_an_aead_cipher(self, certificate: tuple[Path, Path]) -> None:
        async def dialogue() -> None:
            async with Sink(certificate=certificate, tls_maximum=ssl.TLSVersion.TLSv1_2) as sink:
                [outcome] = await deliver(deliverer(DNS), tls_route(sink, TlsLevel.ENCRYPTED))
                assert outcome.tls.startswith("TLSv1.2 ECDHE-")
                assert "GCM" in outcome.tls or "CHACHA20" in outcome.tls

        run(dialogue())

    def test_only_ciphers_of_the_guideline_are_offered(self) -> None:
        for level in (TlsLevel.VERIFIED, TlsLevel.ENCRYPTED, TlsLevel.OPPORTUNISTIC):
            for cipher in client_context(level, None).get_ciphers():
                assert cipher["protocol"] == "TLSv1.3" or cipher["name"].startswith("ECDHE-")
                assert cipher["aead"]

    def test_plaintext_said_before_tls_is_not_believed(self, certificate: tuple[Path, Path]) -> None:
        injected = b"250-evil\r\n250 NOTHING\r\n"

        async def dialogue() -> None:
            async with Sink(Behaviour(extra={"STARTTLS": injected}), certificate=certificate) as sink:
                [outcome] = await deliver(deliverer(DNS), tls_route(sink, TlsLevel.ENCRYPTED))
                assert outcome.state is State.READY or sink.messages[0].envelope.parameters != ()

        run(dialogue())

    def test_a_missing_ca_file_waits_and_never_bounces(self, certificate: tuple[Path, Path]) -> None:
        async def dialogue() -> None:
            async with Sink(certificate=certificate) as sink:
                way = route(sink, tls=TlsLevel.VERIFIED, ca_file="/nonexistent/ca.pem")
                [outcome] = await deliver(deliverer(), way)
                assert (outcome.state, outcome.status) == (State.READY, "4.3.5")
                assert "nonexistent" not in outcome.reply

        run(dialogue())


class TestLogin:
    """AUTH only under TLS, with a secret that lies in a file."""

    @pytest.mark.parametrize("methods", ["PLAIN LOGIN", "LOGIN", "PLAIN", "CRAM-MD5 PLAIN"])
    def test_the_route_logs_in(self, methods: str, certificate: tuple[Path, Path], tmp_path: Path) -> None:
        self.secret(tmp_path, "relay:geheim:met:dubbele punt\n")
        behaviour = Behaviour(logins={"relay": "geheim:met:dubbele punt"}, auth=methods)

        async def dialogue() -> None:
            async with Sink(behaviour, certificate=certificate) as sink:
                way = tls_route(sink, TlsLevel.ENCRYPTED, login="edge")
                [outcome] = await deliver(deliverer(DNS, secrets=tmp_path), way)
                assert outcome.state is State.DELIVERED
                assert sink.messages[0].envelope.login == "relay"

        run(dialogue())

    def test_a_password_is_never_said_without_tls(self, tmp_path: Path) -> None:
        self.secret(tmp_path, "relay:geheim")

        async def dialogue() -> None:
            async with Sink(Behaviour(logins={"relay": "geheim"})) as sink:
                [outcome] = await deliver(deliverer(DNS, secrets=tmp_path), tls_route(sink, TlsLevel.OPPORTUNISTIC, login="edge"))
                assert outcome.status == "4.7.4"
                assert not any("AUTH" in command for command in sink.commands)

        run(dialogue())

    def test_a_wrong_password_waits_and_never_bounces(self, certificate: tuple[Path, Path], tmp_path: Path) -> None:
        self.secret(tmp_path, "relay:fout")

        async def dialogue() -> None:
            async with Sink(Behaviour(logins={"relay": "goed"}), certificate=certificate) as sink:
                [outcome] = await deliver(deliverer(DNS, secrets=tmp_path), tls_route(sink, TlsLevel.ENCRYPTED, login="edge"))
                assert (outcome.state, outcome.status) == (State.READY, "4.7.8")
                assert sum("AUTH" in command for command in sink.commands) == 1
                assert "fout" not in outcome.reply

        run(dialogue())

    def secret(self, folder: Path, text: str) -> Path:
        path = folder / "edge"
        path.write_text(text)
        path.chmod(0o600)
        return path

    @pytest.mark.parametrize("text", ["no colon", ":password", "user:", "user:pass\nsecond:line", ""])
    def test_a_file_that_is_no_login_is_named_without_its_content(self, text: str, tmp_path: Path) -> None:
        path = self.secret(tmp_path, text)
        with pytest.raises(ConfigurationError, match="user:password") as caught:
            read_login(tmp_path, "edge")
        assert str(path) in str(caught.value)
        assert "second" not in str(caught.value)

    def test_a_file_that_others_may_read_is_refused(self, tmp_path: Path) -> None:
        self.secret(tmp_path, "a:b").chmod(0o644)
        with pytest.raises(ConfigurationError, match="others may read"):
            read_login(tmp_path, "edge")

    @pytest.mark.parametrize("name", ["../edge", "/etc/passwd", "", ".hidden"])
    def test_a_login_never_leaves_the_secrets_folder(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="no file name"):
            read_login(tmp_path, name)

    def test_a_password_is_never_shown(self, tmp_path: Path) -> None:
        self.secret(tmp_path, "relay:geheim")
        assert "geheim" not in repr(read_login(tmp_path, "edge"))


class TestReuse:
    """Connections that are kept, and how many are open."""

    def test_the_next_message_takes_the_same_connection(self, certificate: tuple[Path, Path]) -> None:
        async def dialogue() -> None:
            async with Sink(certificate=certificate) as sink:
                out, way = deliverer(DNS), tls_route(sink, TlsLevel.ENCRYPTED)
                for _ in range(3):
                    assert (await deliver(out, way))[0].state is State.DELIVERED
                assert sink.connections == 1
                assert [message.envelope.connection for message in sink.messages] == [1, 1, 1]

        run(dialogue())

    def test_a_connection_that_went_stale_is_replaced_without_an_outcome(self) -> None:
        async def dialogue() -> None:
            async with kept_port() as sink:
                out, way = deliverer(), route(sink)
                await deliver(out, way)
                await sink.stop()
                await sink.start(sink.port)
                [outcome] = await deliver(out, way)
                assert outcome.state is State.DELIVERED
                assert sink.connections == 2

        run(dialogue())

    def test_a_connection_is_not_used_again_after_421(self) -> None:
        async def dialogue() -> None:
            async with Sink(Behaviour(replies={"DOT": "421 4.3.2 Bye"})) as sink:
                out, way = deliverer(), route(sink)
                await deliver(out, way)
                sink.behaviour.replies.clear()
                [outcome] = await deliver(out, way)
                assert outcome.state is State.DELIVERED

        run(dialogue())

    def test_a_changed_route_takes_a_new_connection(self, ca: Authority, certificate: tuple[Path, Path]) -> None:
        async def dialogue() -> None:
            async with Sink(certificate=certificate) as sink:
                out = deliverer(DNS)
                await deliver(out, tls_route(sink, TlsLevel.NONE))
                await deliver(out, tls_route(sink, TlsLevel.VERIFIED, ca))
                assert [message.envelope.tls for message in sink.messages] == [None, "TLSv1.3"]

        run(dialogue())

    def test_an_idle_connection_is_ended_politely(self) -> None:
        async def dialogue() -> None:
            async with Sink() as sink:
                await deliver(out := deliverer(), route(sink))
                await out.close()
                async with asyncio.timeout(30):
                    while "QUIT" not in sink.commands:
                        await asyncio.sleep(0.01)

        run(dialogue())

    def test_no_more_connections_than_the_route_says(self) -> None:
        async def dialogue() -> None:
            async with Sink() as sink:
                out, way = deliverer(), route(sink, connections=2)
                outcomes = await asyncio.gather(*(deliver(out, way) for _ in range(12)))
                assert all(outcome.state is State.DELIVERED for [outcome] in outcomes)
                assert sink.most_open <= 2

        run(dialogue())

    def test_places_are_given_back_when_nobody_waits(self) -> None:
        async def dialogue() -> None:
            pool = Pool()
            async with pool.place("a", 1):
                pass
            with pytest.raises(RuntimeError):
                async with pool.place("a", 1):
                    raise RuntimeError
            assert pool._limits == {}

        run(dialogue())

    def test_a_dead_destination_is_left_alone_for_a_while(self) -> None:
        async def dialogue() -> None:
            async with kept_port() as sink:
                out, way = deliverer(schedule=(60.0,)), route(sink)
                await sink.stop()
                [first] = await deliver(out, way)
                await sink.start(sink.port)
                [second] = await deliver(out, way)
                assert first.status == second.status == "4.4.1"
                assert "not tried again yet" in second.reply
                assert sink.connections == 0

        run(dialogue())

    def test_a_destination_that_is_back_gets_its_mail(self) -> None:
        async def dialogue() -> None:
            async with kept_port() as sink:
                out, way = deliverer(schedule=(0.000_1,)), route(sink)
                await sink.stop()
                assert (await deliver(out, way))[0].state is State.READY
                await sink.start(sink.port)
                assert (await deliver(out, way))[0].state is State.DELIVERED

        run(dialogue())


class TestProbe:
    """Asking the next hop whether a recipient exists."""

    @pytest.mark.parametrize(
        ("reply", "code", "status"),
        [
            ("250 2.1.5 Ok", 250, "2.1.5"),
            ("550 5.1.1 No such user", 550, "5.1.1"),
            ("550 No such user", 550, None),
            ("451 4.3.0 Later", 451, "4.3.0"),
            ("554 5.7.1 caf\u00e9 \x07", 554, "5.7.1"),
        ],
    )
    def test_the_answer_to_rcpt_is_given(self, reply: str, code: int, status: str | None) -> None:
        async def dialogue() -> None:
            async with Sink(Behaviour(replies={"RCPT": reply})) as sink:
                answer = await deliverer().probe(route(sink), Recipient(mailbox("piet@example.nl")))
                assert (answer.code, answer.status) == (code, status)
                assert "MAIL FROM:<>" in sink.commands
                assert "DATA" not in sink.commands

        run(dialogue())

    @pytest.mark.parametrize(
        "behaviour", [Behaviour(drop_at={"RCPT"}), Behaviour(hang_at={"MAIL"}), Behaviour(replies={"MAIL": "550 5.7.1 No bounces here"})]
    )
    def test_a_fault_says_nothing_about_the_recipient(self, behaviour: Behaviour) -> None:
        async def dialogue() -> None:
            async with Sink(behaviour) as sink:
                answer = await deliverer(command_timeout=0.3).probe(route(sink), Recipient(mailbox("piet@example.nl")))
                assert answer.transient

        run(dialogue())

    def test_a_next_hop_that_is_down_says_nothing_about_the_recipient(self) -> None:
        async def dialogue() -> None:
            async with kept_port() as sink:
                await sink.stop()
                assert (await deliverer().probe(route(sink), Recipient(mailbox("piet@example.nl")))).transient

        run(dialogue())

    def test_an_address_that_the_next_hop_cannot_take_is_no_statement_about_the_mailbox(self) -> None:
        async def dialogue() -> None:
            extensions = tuple(name for name in EXTENSIONS if name != "SMTPUTF8")
            async with Sink(Behaviour(extensions)) as sink:
                answer = await deliverer().probe(route(sink), Recipient(mailbox("joël@example.nl")))
                assert (answer.code, answer.status) == (550, "5.6.7")

        run(dialogue())

    def test_a_probe_and_a_delivery_share_a_connection(self) -> None:
        async def dialogue() -> None:
            async with Sink() as sink:
                out, way = deliverer(), route(sink)
                await out.probe(way, Recipient(mailbox("piet@example.nl")))
                await deliver(out, way, mark=marked)
                assert sink.connections == 1
                assert sink.commands.count("RSET") == 1

        run(dialogue())
