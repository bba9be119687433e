"""`sluis policy list`: the everyday change of a list, through the same road as every other change."""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, print_json, reason_option, settings_from
from relay.cli.policy_common import NAME, policies_option
from relay.cli.policy_proposing import content_of, propose, tell
from relay.cli.policy_versions import version
from relay.policy.content import Content
from relay.policy.list_edit import NoEdit, added, removed
from relay.policy.lists import FOLDER
from relay.settings.models import Settings

Edit = Callable[[str, str, str, date], str]


@click.group()
def command() -> None:
    """Add an entry to a list of the policy, or remove one."""


def _edit(how: str, edit: Edit, text: str) -> None:
    @command.command(name=how, help=text)
    @click.argument("name")
    @click.argument("entry")
    @reason_option
    @policies_option
    @config_option
    @json_option
    def change(name: str, entry: str, reason: str, policies: Path | None, config: Path, as_json: bool) -> None:
        if not NAME.fullmatch(name):
            raise click.UsageError(f"'{name}' is no list: a list is named as its file, lists/NAME.txt, in lower case")
        settings = settings_from(config)
        folder = policies or settings.policies
        path = folder / FOLDER / f"{name}.txt"
        standing = call_operation(settings, "policy.standing", {})
        if standing["source"] != "approved":
            raise click.ClickException(f"the folder says what is in force (policy.source): edit {path}")
        if not os.access(path.parent if path.parent.is_dir() else folder, os.W_OK):
            _in_the_record(settings, name, lambda text: edit(text, entry, reason, datetime.now(UTC).date()), reason, as_json)
            return
        if content_of(folder).digest not in (standing["in_force"], *standing["waiting"]):
            raise click.ClickException(f"{folder} holds other changes, that nobody proposed: sluis policy diff, sluis policy propose")
        before = _text(path, folder)
        try:
            _replace(path, edit(before, entry, reason, datetime.now(UTC).date()))
        except NoEdit as error:
            raise click.ClickException(f"{path}: {error}") from None
        try:
            content = content_of(folder)
            # An entry of a list must not wait for a test that the policy in force did without, and is recorded as untested then.
            result = propose(settings, folder, content, reason, untested=not content.tests)
        except click.ClickException:
            _replace(path, before)  # what was refused must not come along with the next change
            raise
        print_json(result) if as_json else tell(result)


def _in_the_record(settings: Settings, name: str, edit: Callable[[str], str], reason: str, as_json: bool) -> None:
    """Where the working copy can't be written to, as in a container: the version in force is changed, and the folder stays behind."""
    content, path = version(settings, "in-force"), f"{FOLDER}/{name}.txt"
    if path not in content.files:
        known = ", ".join(sorted(Path(one).stem for one in content.files if one.startswith(f"{FOLDER}/"))) or "none yet"
        raise click.ClickException(f"no list is named '{name}'; there are {known}")
    try:
        changed = Content({**content.files, path: edit(content.files[path])}, content.tests)
    except NoEdit as error:
        raise click.ClickException(f"{path}: {error}") from None
    result = propose(settings, settings.policies, changed, reason, untested=not changed.tests)
    if as_json:
        print_json(result)
        return
    tell(result)
    click.echo("the working copy can't be written to, and lacks this: sluis policy export writes a version into a folder", err=True)


def _text(path: Path, folder: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(sorted(one.stem for one in (folder / FOLDER).glob("*.txt"))) or "none yet (sluis policy new list)"
        raise click.ClickException(f"no list is named '{path.stem}'; there are {known}") from None
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None


def _replace(path: Path, text: str) -> None:
    """Whole or not at all; mode and owner stay."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        state = path.stat()
        temporary.write_text(text, encoding="utf-8", newline="")
        temporary.chmod(state.st_mode & 0o777)
        if os.geteuid() == 0:
            os.chown(temporary, state.st_uid, state.st_gid)
        temporary.replace(path)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None


_edit(
    "add",
    added,
    "Write ENTRY (an address, a domain, a SHA-256, or 'pattern: *@*.example') into the list NAME of the working copy, with day and reason, "
    "and propose that. Where it can only close, it is in force at once; else another person approves it.",
)
_edit(
    "remove",
    removed,
    "Take ENTRY out of the list NAME of the working copy, leave a comment with day and reason, and propose that. Where it can only close, "
    "it is in force at once; else another person approves it.",
)
