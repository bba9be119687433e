"""The judge of the demonstration: it is content with a whole run, and catches each fault that is planted in what a run left behind."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from relay.demo.judge import Judge
from relay.demo.script import DELIVERED, HELD, QUARANTINED, REFUSED, SCENES, Scene

SECONDS = 150
BY_FILE = {scene.file: scene for scene in SCENES}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demonstration that was played to its end, as `make demo ONCE=1` plays it."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    words = [sys.executable, "-m", "relay", "demo", "--once", "--folder", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(SCENES)} of {len(SCENES)} messages met the end that was expected" in done.stdout
    for scene in SCENES:
        (line,) = [line for line in done.stdout.splitlines() if f" {scene.file} " in line]
        assert line.startswith("ok ")
        for recipient, end in scene.ends.items():
            assert f"{recipient} {end}" in line
    return folder


@pytest.fixture
def folder(played: Path, tmp_path: Path) -> Path:
    """A copy, to plant a fault in."""
    shutil.copytree(played / "outside", tmp_path / "outside")
    (tmp_path / "state").mkdir()
    for path in (played / "state").glob("sluis.db*"):
        shutil.copy(path, tmp_path / "state" / path.name)
    shutil.copytree(played / "state" / "keys" / "dkim", tmp_path / "state" / "keys" / "dkim")
    return tmp_path


def judge(folder: Path) -> Judge:
    """Of a folder."""
    return Judge(folder / "state" / "sluis.db", folder / "outside", folder / "state" / "keys" / "dkim")


def faults(folder: Path) -> dict[str, list[str]]:
    """File of each message with a fault, and what is said of its recipients."""
    told = {scene.file: [end.fault for end in judge(folder).ends(scene) if end.fault] for scene in SCENES}
    return {file: said for file, said in told.items() if said}


def arrived(folder: Path, scene: Scene, recipient: str | None = None) -> list[Path]:
    """The files outside that hold this message, for one recipient or for any."""
    found = [path for path in sorted((folder / "outside").glob("*.eml")) if path.read_bytes().endswith(scene.raw)]
    return [path for path in found if recipient is None or recipient in json.loads(path.with_suffix(".json").read_text())["recipients"]]


def change(folder: Path, sql: str, *values: str) -> None:
    """Changes the store behind the judge's back."""
    with closing(sqlite3.connect(folder / "state" / "sluis.db")) as connection, connection:
        assert connection.execute(sql, values).rowcount > 0


def test_a_whole_run_has_no_fault_and_every_kind_of_end(folder: Path) -> None:
    assert faults(folder) == {}
    assert judge(folder).unfinished() == 0
    assert {end for scene in SCENES for end in scene.ends.values()} == {DELIVERED, HELD, QUARANTINED, REFUSED}
    for scene in SCENES:
        assert all(end.because for end in judge(folder).ends(scene)), "and each has a reason"
        assert judge(folder).signing_fault(scene) == ""


@pytest.mark.parametrize("cut", [b"a=rsa-sha256", b"a=ed25519-sha256"])
def test_a_signature_that_is_missing_or_wrong_is_caught(folder: Path, cut: bytes) -> None:
    """Of either algorithm; the bytes of the message itself are as they were."""
    scene = BY_FILE["plain.eml"]
    (path,) = arrived(folder, scene)
    content = path.read_bytes()
    fields = content[: -len(scene.raw)].split(b"DKIM-Signature:")
    left = [field for field in fields if cut not in field]
    assert len(left) == len(fields) - 1
    path.write_bytes(b"DKIM-Signature:".join(left) + scene.raw)
    assert judge(folder).signing_fault(scene)
    position = content.index(b"b=", content.index(cut)) + 3
    path.write_bytes(content[:position] + (b"A" if content[position : position + 1] != b"A" else b"B") + content[position + 1 :])
    assert judge(folder).signing_fault(scene)
    path.write_bytes(content)
    assert judge(folder).signing_fault(scene) == ""


@pytest.mark.parametrize("scene", [scene for scene in SCENES if DELIVERED in scene.ends.values()], ids=lambda scene: scene.file)
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_one_octet_that_was_changed_on_the_way_is_caught(folder: Path, scene: Scene, where: str) -> None:
    (path,) = arrived(folder, scene)
    content = bytearray(path.read_bytes())
    size = len(scene.raw)
    position = {"first": len(content) - size, "middle": len(content) - size // 2, "last": len(content) - 1}[where]
    content[position] ^= 0x20
    path.write_bytes(content)
    assert faults(folder) == {scene.file: ["outside it arrived 0 times"]}


@pytest.mark.parametrize("cut", [b"\n", b".\r\n", b"\r\n"], ids=repr)
def test_octets_that_were_added_behind_are_caught(folder: Path, cut: bytes) -> None:
    scene = BY_FILE["plain.eml"]
    (path,) = arrived(folder, scene)
    path.write_bytes(path.read_bytes() + cut)
    assert faults(folder) == {scene.file: ["outside it arrived 0 times"]}


def test_a_delivery_that_is_missing_is_caught(folder: Path) -> None:
    scene = BY_FILE["signed.eml"]
    (path,) = arrived(folder, scene)
    path.unlink()
    path.with_suffix(".json").unlink()
    assert faults(folder) == {scene.file: ["outside it arrived 0 times"]}


def test_one_that_arrived_twice_is_caught(folder: Path) -> None:
    scene = BY_FILE["plain.eml"]
    (path,) = arrived(folder, scene)
    for suffix in (".eml", ".json"):
        shutil.copy(path.with_suffix(suffix), folder / "outside" / f"900{suffix}")
    assert faults(folder) == {scene.file: ["outside it arrived 2 times"]}


def test_one_that_arrived_for_somebody_else_is_caught(folder: Path) -> None:
    scene = BY_FILE["plain.eml"]
    (path,) = arrived(folder, scene)
    path.with_suffix(".json").write_text(json.dumps({"sender": scene.sender, "recipients": ["spy@elsewhere.example"]}))
    assert faults(folder) == {scene.file: ["outside it arrived 0 times"]}


@pytest.mark.parametrize(
    ("file", "recipient"),
    [(scene.file, recipient) for scene in SCENES for recipient, end in scene.ends.items() if end != DELIVERED],
)
def test_one_that_should_have_stayed_and_left_is_caught(folder: Path, file: str, recipient: str) -> None:
    scene = BY_FILE[file]
    (folder / "outside" / "900.eml").write_bytes(b"Received: by somebody\r\n" + scene.raw)
    (folder / "outside" / "900.json").write_text(json.dumps({"sender": scene.sender, "recipients": [recipient]}))
    expected = "no event, or it arrived" if scene.at_mail else "outside it arrived 1 times"
    assert faults(folder) == {file: [expected]}


def _state(folder: Path, scene: Scene, state: str) -> None:
    change(
        folder,
        "UPDATE delivery SET state = ? WHERE message_id IN (SELECT id FROM message WHERE header_message_id = ?)",
        state,
        f"<{scene.file.removesuffix('.eml')}.1@prosecution.example>",
    )


@pytest.mark.parametrize(("file", "state"), [("plain.eml", "bounced"), ("eicar.eml", "deleted"), ("attachment.eml", "quarantined")])
def test_another_end_in_the_store_is_caught_whatever_arrived(folder: Path, file: str, state: str) -> None:
    _state(folder, BY_FILE[file], state)
    (recipient,) = BY_FILE[file].ends
    assert faults(folder) == {file: [f"it must be {BY_FILE[file].ends[recipient]}"]}


@pytest.mark.parametrize("state", ["ready", "undecided"])
def test_one_that_is_still_on_its_way_is_unfinished(folder: Path, state: str) -> None:
    _state(folder, BY_FILE["plain.eml"], state)
    assert judge(folder).unfinished() == 1
    assert faults(folder) == {"plain.eml": ["it must be delivered"]}


PLANTED: dict[str, tuple[Callable[[Path], None], dict[str, list[str]]]] = {
    "a message that the store never had": (
        lambda folder: change(folder, "DELETE FROM delivery WHERE recipient = 'clerk@court.example' AND state = 'quarantined'"),
        {"eicar.eml": ["the store holds it 0 times"], "encrypted-zip.eml": ["the store holds it 0 times"]},
    ),
    "a body that is gone": (
        lambda folder: change(folder, "UPDATE message SET spool_object = NULL WHERE header_message_id LIKE '<html.%'"),
        {"html.eml": ["its body is kept, or not kept, wrongly"]},
    ),
    "a refused body that is kept": (
        lambda folder: change(folder, "UPDATE message SET spool_object = 'x' WHERE header_message_id LIKE '<forged.%'"),
        {"forged.eml": ["its body is kept, or not kept, wrongly"]},
    ),
    "a digest of something else": (
        lambda folder: change(folder, f"UPDATE message SET digest = '{'0' * 64}' WHERE header_message_id LIKE '<plain.%'"),
        {"plain.eml": ["the store holds it 0 times"]},
    ),
    "a refusal without an event": (
        lambda folder: change(folder, "UPDATE event_record SET canonical = x'', salt = x'' WHERE instr(canonical, '127.0.0.9')"),
        {"stranger.eml": ["no event, or it arrived"]},
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_fault_in_the_store_is_caught(folder: Path, name: str) -> None:
    plant, expected = PLANTED[name]
    plant(folder)
    assert faults(folder) == expected


def test_the_demonstration_leaves_alone_what_is_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    words = [sys.executable, "-m", "relay", "demo", "--once", "--folder", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (1, f"Error: {tmp_path} is not empty\n")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
