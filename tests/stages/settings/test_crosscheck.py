"""What no single key can know of the settings."""

from pathlib import Path

import pytest

from tests.stages.settings.test_load import LISTENER, SMALL, file, loaded, problems

__all__ = ["file"]
TLS = 'tls = {certificate = "c", key = "k"}\n'


@pytest.mark.parametrize("name", ["relay", "relay..nl", "-a.nl", "a-.nl", "rélay.nl", "a b.nl", "relay.example.nl.", f"{'a' * 64}.nl"])
def test_the_host_name_is_a_full_one(file: Path, name: str) -> None:
    assert problems(file, f'hostname = "{name}"\n') == [f"1: '{name}' is no full host name such as relay.example.org (RFC 5321 §2.3.5)"]


def test_the_name_in_ehlo_is_a_full_one_too(file: Path) -> None:
    assert problems(file, SMALL + '[delivery]\nhostname = "relay"\n')[0].startswith("3: 'relay' is no full host name")


@pytest.mark.parametrize("key", ["implicit_tls", "auth", "require_tls"])
def test_what_needs_tls_needs_a_certificate(file: Path, key: str) -> None:
    require = "" if key == "require_tls" else "require_tls = false\n"
    found = problems(file, SMALL + LISTENER.replace("require_tls = false\n", require) + f"{key} = true\n")

    assert any(f"has {key} and no certificate" in problem for problem in found)


def test_require_tls_says_how_to_do_without(file: Path) -> None:
    found = problems(file, SMALL + LISTENER.replace("require_tls = false\n", ""))

    assert found == ["2: the listener 'in' has require_tls and no certificate; give it a tls table, or say require_tls = false"]


def test_logins_are_kept_in_a_file(file: Path) -> None:
    assert problems(file, SMALL + LISTENER + TLS + "auth = true\n") == ["8: nobody can log in without a 'logins' file"]


def test_two_listeners_have_two_names(file: Path) -> None:
    assert problems(file, SMALL + LISTENER + LISTENER) == ["8: another listener is named 'in' too"]


@pytest.mark.parametrize("address", ["127.0.0.1:25", "[::1]:25"])
def test_one_address_is_bound_once(file: Path, address: str) -> None:
    one = LISTENER.replace("127.0.0.1:0", address)
    twice = LISTENER.replace('"127.0.0.1:0"', f'"{address}", "{address}"')

    assert problems(file, SMALL + one + one.replace('"in"', '"b"')) == [f"10: {address} belongs to the listener 'in' already"]
    assert problems(file, SMALL + twice) == [f"5: {address} belongs to the listener 'in' already"]


def test_port_0_can_be_asked_for_twice(file: Path) -> None:
    assert len(loaded(file, SMALL + LISTENER + LISTENER.replace('"in"', '"b"')).listeners) == 2


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("1.2.3:25", "is no IP address and port"),
        ("127.0.0.1", "is no IP address and port"),
        ("::1:25", "an IPv6 address stands in brackets"),
        ("[1.2.3.4]:25", "an IPv6 address stands in brackets, an IPv4 address does not"),
        ("127.0.0.1:65536", "a port is a number up to 65535"),
        ("127.0.0.1:", "a port is a number up to 65535"),
        ("[::g]:25", "is no IP address and port"),
        ("[:::1]:25", "is no IP address and port"),
    ],
)
def test_an_address_is_an_address(file: Path, address: str, problem: str) -> None:
    found = problems(file, SMALL + LISTENER.replace("127.0.0.1:0", address))

    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize("key", ["proxy_from", "xclient_from", "xforward_from"])
def test_not_everybody_may_claim_an_address(file: Path, key: str) -> None:
    assert problems(file, SMALL + LISTENER + f'{key} = ["0.0.0.0/0", "192.0.2.1/24", "10.0.0.0/8"]\n') == [
        "7: 0.0.0.0/0 is everybody: anybody could claim any address",
        "7: '192.0.2.1/24' is no network: 192.0.2.1/24 has host bits set",
    ]


def test_the_other_addresses_are_checked_too(file: Path) -> None:
    text = '[delivery]\nresolver = ["127.0.0.1:53", "1.2.3:53"]\n[http]\naddress = "127.0.0.1:99999"\n'

    assert problems(file, SMALL + text) == [
        "3: delivery.resolver.1: '1.2.3:53' is no IP address and port such as 127.0.0.1:25 or [::1]:25",
        "5: http.address: '127.0.0.1:99999': a port is a number up to 65535",
    ]


@pytest.mark.parametrize("url", ["mysql://x/y", "/var/lib/sluis.db", "sqlite:sluis.db", "postgresql://x/y"])
def test_a_store_is_sqlite_or_postgresql(file: Path, url: str) -> None:
    assert problems(file, SMALL + f'[store]\nurl = "{url}"\n') == [
        "3: a store is sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE"
    ]


def test_a_password_of_the_store_stands_elsewhere(file: Path) -> None:
    found = problems(file, SMALL + '[store]\nurl = "postgresql+psycopg://sluis:hunter2@db.example.nl/sluis"\n')

    assert found[0].startswith("3: a password stands here for everybody to read")
    assert "hunter2" not in found[0]
    assert loaded(file, SMALL + '[store]\nurl = "postgresql+psycopg://sluis@db.example.nl/sluis"\n')


def test_a_url_that_is_none_is_said(file: Path) -> None:
    assert problems(file, SMALL + '[store]\nurl = "postgresql+psycopg://[x/y"\n') == ["3: this is no URL"]


@pytest.mark.parametrize(("mode", "wrong"), [(0o604, True), (0o602, True), (0o640, False), (0o600, False)])
def test_passwords_that_everybody_can_read_are_refused(file: Path, mode: int, wrong: bool) -> None:
    logins = file.parent / "logins"
    logins.write_text("desk:x\n")
    logins.chmod(mode)
    text = SMALL + 'logins = "logins"\n'

    if wrong:
        assert problems(file, text) == [f"2: {logins} can be read or changed by everybody (chmod o-rwx)"]
    else:
        assert loaded(file, text).logins == logins


def test_a_folder_of_passwords_that_is_not_there_yet_is_no_problem(file: Path) -> None:
    assert loaded(file, SMALL + 'secrets = "nowhere"\n').secrets == file.parent / "nowhere"


def test_a_delay_notice_comes_before_the_end(file: Path) -> None:
    assert problems(file, SMALL + "[delivery]\nexpiry = 3600\ndelay_notice = 3600\n") == [
        "4: a delay notice that comes after the expiry is never sent"
    ]


def test_the_worker_waits_longer_than_the_scanner(file: Path) -> None:
    text = SMALL + '[clamd]\nsocket = "/run/clamd.ctl"\ndeadline = 60\n[inspection]\ndeadline = 30\n'

    assert problems(file, text) == ["6: shorter than clamd.deadline: a slow scan would end as a crash of the worker"]
    assert loaded(file, text.replace('socket = "/run/clamd.ctl"\n', "")).inspection.deadline == 30


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ('url = "https://bucket"', "not of the form s3://BUCKET/PREFIX"),
        ('url = "s3://Not_A_Bucket"', "not of the form s3://BUCKET/PREFIX"),
        ('url = "s3://bucket/a//b"', "not of the form s3://BUCKET/PREFIX"),
        ('url = "s3://bucket"\nendpoint = "http://store.example.org"', "tells everybody on the way"),
        ('url = "s3://bucket"\nendpoint = "https://key:secret@store.example.org"', "with nothing else in it"),
        ('url = "s3://bucket"\nendpoint = "https://store.example.org/bucket"', "with nothing else in it"),
        ('url = "s3://bucket"\nendpoint = "store.example.org:443"', "with nothing else in it"),
    ],
)
def test_an_object_store_is_reached_safely(file: Path, words: str, problem: str) -> None:
    found = "".join(problems(file, f"{SMALL}[spool.s3]\n{words}\n"))
    assert problem in found
    assert "secret" not in found


@pytest.mark.parametrize(
    "words",
    [
        'url = "s3://bucket"',
        'url = "s3://bucket/one/two"\nendpoint = "https://store.example.org:8443"',
        'url = "s3://bucket"\nendpoint = "http://127.0.0.1:9000"',
        'url = "s3://bucket"\nendpoint = "http://[::1]:9000"',
        'url = "s3://bucket"\nendpoint = "http://store.example.org"\nallow_plain_http = true',
    ],
)
def test_an_object_store_of_each_kind_is_taken(file: Path, words: str) -> None:
    assert loaded(file, f"{SMALL}[spool.s3]\n{words}\n").spool.s3 is not None
