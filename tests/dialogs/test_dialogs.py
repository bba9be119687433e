"""Every dialogue file, under both event loops; and that the files can fail."""

from dataclasses import replace
from pathlib import Path

import pytest

from relay.settings.models import TlsFiles
from tests.dialogs.play import Certificates, Mismatch, play
from tests.dialogs.transcript import Kind, Transcript, TranscriptError, parse
from tests.servers.certificates import issue, make_ca
from tests.stages.listen.clock import MOVED
from tests.stages.listen.listening import LOOPS, run

FILES = sorted(Path(__file__).parent.glob("*.txt"))
HEADER = "side: inside\ncommand_timeout: 0.5\n\nS: 220 relay.example.nl ESMTP\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    authority = make_ca(tmp_path_factory.mktemp("ca"))
    chain, key = issue(authority, ["relay.example.nl"])
    return Certificates(TlsFiles(certificate=chain, key=key), authority.certificate)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_dialogue_goes_as_written(path: Path, loop: str, certificates: Certificates) -> None:
    run(play(parse(path), certificates), loop, timeout=60, loops=MOVED)


@pytest.mark.parametrize("path", [path for path in FILES if "\nS: " in path.read_text()], ids=lambda path: path.stem)
def test_one_wrong_digit_in_a_line_of_the_server_fails_the_dialogue(path: Path, certificates: Certificates) -> None:
    transcript = parse(path)
    last = max(index for index, step in enumerate(transcript.steps) if step.kind is Kind.HEAR)
    wrong = replace(transcript.steps[last], text="9" + transcript.steps[last].text[1:])
    altered = Transcript(path, transcript.settings, [*transcript.steps[:last], wrong, *transcript.steps[last + 1 :]])
    with pytest.raises(Mismatch, match=f"{path.name}:{wrong.line}: expected 9"):
        run(play(altered, certificates), timeout=60, loops=MOVED)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("sidee: inside\n\nS: 220 x\n", id="unknown setting"),
        pytest.param("side: inward\n\nS: 220 x\n", id="unknown side"),
        pytest.param("side: inside\nside: outside\n\nS: 220 x\n", id="setting given twice"),
        pytest.param("side: inside\nauth: true\n\nS: 220 x\n", id="neither yes nor no"),
        pytest.param("tls: starttls\n\nS: 220 x\n", id="no side"),
        pytest.param("side: inside\n\nC: QUIT\n", id="silent server"),
        pytest.param("side: inside\nS: 220 x\n", id="no empty line"),
        pytest.param(HEADER + "D: EHLO x\n", id="unknown speaker"),
        pytest.param(HEADER + "EHLO x\n", id="no speaker"),
        pytest.param(HEADER + "CLOSE\n", id="unknown event"),
        pytest.param(HEADER + " CLOSED\n", id="indented event"),
        pytest.param(HEADER + "SILENCE\n", id="no time of silence"),
        pytest.param(HEADER + "C: EHLO \\q\n", id="unknown escape"),
        pytest.param(HEADER + "C: EHLO \\x1\n", id="half an escape"),
        pytest.param(HEADER + "C: EHLO {a*}\n", id="no number of times"),
        pytest.param(HEADER + "S: 250 Ok \n", id="space at the end"),
        pytest.param(HEADER + "I: massage sender=a@b.nl\n", id="unknown word of the road"),
        pytest.param(HEADER + "I: message sendr=a@b.nl\n", id="unknown fact"),
        pytest.param(HEADER + "I: message sender\n", id="fact without a value"),
    ],
)
def test_a_typo_is_an_error_with_file_and_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "typo.txt"
    path.write_text(text)
    with pytest.raises(TranscriptError, match=r"typo\.txt:\d+: "):
        parse(path)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("S: 250 never said\n", id="a reply too many"),
        pytest.param("C: NOOP\n", id="a reply too few"),
        pytest.param("C: QUIT\nS: 221 2.0.0 Bye\n", id="closed although not said"),
        pytest.param("C: VRFY\nCLOSED\n", id="not closed although said"),
        pytest.param("I: message sender=a@b.nl\n", id="a message too few"),
        pytest.param(
            "C: EHLO x\nS*6: 250-...\nS: 250 DSN\nC: MAIL FROM:<a@b.nl>\nC: RCPT TO:<a@b.nl>\nC: DATA\nS*2: 250 ...\nS: 354 ...\n"
            "C: .\nS: 250 ...\n",
            id="a message too many",
        ),
        pytest.param(
            "C: EHLO x\nS*6: 250-...\nS: 250 DSN\nC: MAIL FROM:<a@b.nl>\nC: RCPT TO:<a@b.nl>\nC: DATA\nS*2: 250 ...\nS: 354 ...\n"
            "C: .\nS: 250 ...\nI: message sender=b@b.nl\n",
            id="another sender",
        ),
    ],
)
def test_a_dialogue_that_goes_otherwise_fails(text: str, tmp_path: Path, certificates: Certificates) -> None:
    path = tmp_path / "otherwise.txt"
    path.write_text(HEADER + text)
    with pytest.raises(Mismatch, match=r"otherwise\.txt:\d+: expected "):
        run(play(parse(path), certificates))


def test_there_is_a_dialogue_for_every_extension() -> None:
    said = " ".join(path.read_text() for path in FILES)
    for extension in (
        "PIPELINING",
        "SIZE",
        "8BITMIME",
        "SMTPUTF8",
        "STARTTLS",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        "DSN",
        "AUTH",
        "XCLIENT",
        "XFORWARD",
    ):
        assert f"250-{extension}" in said or f"250 {extension}" in said, extension
    for verb in ("LHLO", "PROXY"):
        assert f"C: {verb}" in said
