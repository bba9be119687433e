"""`sluis policy export`: a version out of the store, as a folder."""

from pathlib import Path

import click

from relay.cli.common import config_option, json_option, print_json, settings_from
from relay.cli.policy_versions import version
from relay.policy.content import write_content


@click.command()
@click.argument("name", metavar="VERSION")
@click.argument("folder", type=click.Path(path_type=Path))
@config_option
@json_option
def command(name: str, folder: Path, config: Path, as_json: bool) -> None:
    """Write VERSION (the start of its digest, or `in-force`) with its tests into FOLDER, which must not be there yet."""
    found = version(settings_from(config), name)
    try:
        write_content(found, folder)
    except FileExistsError:
        raise click.ClickException(f"{folder} is there already; nothing was written") from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    if as_json:
        print_json({"folder": str(folder), "digest": found.digest})
    else:
        click.echo(f"written: {folder}, version {found.digest[:16]}")
