"""`sluis demo`: the messages that ship with Sluis, through a relay of its own, each with what happened to it and why."""

import asyncio
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import click

from relay.cli.common import problems_told
from relay.demo.client import send
from relay.demo.judge import End, Judge
from relay.demo.outside import Outside
from relay.demo.script import DELIVERED, SCENES, Scene
from relay.demo.stage import DemoFailed, Relay, set_up

SETTLE_SECONDS = 60


@click.command()
@click.option("--once", is_flag=True, help="end when every message has met its end; exit 0 only if each was the expected one")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), help="an empty folder to play in and to keep; default: a temporary one"
)
def command(once: bool, folder: Path | None) -> None:
    """Relay the messages that ship with Sluis through real SMTP on loopback, and keep serving until Ctrl-C."""
    place = _empty(folder) if folder is not None else Path(tempfile.mkdtemp(prefix="sluis-demo-"))
    with problems_told():
        faults = asyncio.run(_play(place.absolute(), once))
    if once and folder is None and not faults:
        shutil.rmtree(place)
        click.echo(f"\n{place} is removed again; --folder keeps one")
    if faults:
        raise SystemExit(1)


def _empty(folder: Path) -> Path:
    """Made if need be. Raises ClickException where there is something already, or where nothing can be put."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise click.ClickException(f"{folder} is not empty")
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise click.ClickException(f"{folder}: {error.strerror}; --folder takes an empty folder that can be written to") from None


async def _play(place: Path, once: bool) -> int:
    """Gives the number of messages that did not meet their expected end."""
    outside = Outside(place / "outside")
    config = await asyncio.to_thread(set_up, place, await outside.start())
    relay = Relay(config)
    await relay.start()
    try:
        faults = await _relay_all(relay, Judge(place / "state" / "sluis.db", place / "outside", place / "state" / "keys" / "dkim"))
        _say_where(place, config)
        if not once:
            await _until_interrupted(relay, relay.ports["inside"])
    finally:
        code = await relay.stop()
        outside.close()
    if code != 0:
        raise DemoFailed(f"the relay ended with {code}; its log is {place / 'sluis.log'}")
    return faults


async def _relay_all(relay: Relay, judge: Judge) -> int:
    replies = {scene.file: await asyncio.to_thread(send, scene, relay.ports["inside"]) for scene in SCENES}
    await asyncio.to_thread(_settled, judge)
    faults = 0
    for scene in SCENES:
        ends, heard = judge.ends(scene), replies[scene.file]
        wrong = [end.fault for end in ends if end.fault]
        wrong += [] if heard.startswith(str(scene.code)) else [f"the client must hear {scene.code}"]
        wrong += [fault] if (fault := judge.signing_fault(scene)) else []
        faults += bool(wrong)
        click.echo(_line(scene, heard, ends, wrong))
    click.echo(f"\n{len(SCENES) - faults} of {len(SCENES)} messages met the end that was expected, by the files outside and by the store.")
    return faults


def _settled(judge: Judge) -> None:
    """Waits until nobody is on the way any more; what then still is, is a fault that the judge names."""
    end = time.monotonic() + SETTLE_SECONDS
    while judge.unfinished() and time.monotonic() < end:
        time.sleep(0.05)


def _line(scene: Scene, reply: str, ends: list[End], wrong: list[str]) -> str:
    """`ok  plain.eml (plain text): 250; clerk@…: delivered, signed (why)`"""
    parts = [
        f"{end.recipient} {end.found}{', DKIM-signed' if end.found == DELIVERED and not wrong else ''} ({end.because})" for end in ends
    ]
    mark = click.style("FAULT", fg="red") if wrong else click.style("ok   ", fg="green")
    told = f" BUT {'; '.join(wrong)}" if wrong else ""
    return f"{mark} {scene.file:18} {scene.shows}: the client heard {reply[:9]}; {'; '.join(parts)}{told}"


def _say_where(place: Path, config: Path) -> None:
    program = Path(sys.executable).with_name("sluis")
    click.echo(f"\nsettings, policy   {config}, {place / 'policies'}")
    click.echo(f"what left          {place / 'outside'}")
    click.echo(f"the audit          {program} audit list --reason look --config {config}")
    click.echo(f"the quarantine     {program} quarantine list --config {config}")
    click.echo(f"the log            {place / 'sluis.log'}")


async def _until_interrupted(relay: Relay, port: int) -> None:
    """A relay that ends by itself ends the demonstration, too."""
    click.echo(f"\nserving on 127.0.0.1:{port} until Ctrl-C")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    waiting = [asyncio.create_task(stop.wait()), asyncio.create_task(relay.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
