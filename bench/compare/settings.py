"""What of Sluis was switched on, and what it did for each message: commits, syncs, events, scans."""

from pathlib import Path

from sqlalchemy import create_engine, text

from relay.model.errors import SluisError
from relay.policy.load import build, read_files
from relay.settings.load import load_settings


def effective(folder: Path) -> list[str]:
    """Lines about the relay in `folder`, as it was left by the last run; nothing where none ran."""
    config = folder / "sluis.toml"
    if not config.exists():
        return []
    try:
        settings = load_settings(config)
        policy = build(read_files(settings.policies), settings.policies)
    except SluisError as error:
        return [f"(the settings of the relay can't be read: {error})"]
    engine = create_engine(settings.store.url)
    with engine.connect() as connection:
        messages = connection.execute(text("SELECT count(*) FROM message")).scalar() or 1
        events = connection.execute(text("SELECT count(*) FROM event")).scalar() or 0
    engine.dispose()
    keys = [f"{key.algorithm} ({key.selector})" for signing in policy.signing for key in signing.keys]
    inspection, spool, store = settings.inspection, settings.spool, settings.store
    return [
        "### What Sluis did meanwhile",
        "",
        f"- store: {store.url.partition(':')[0]}, at most {store.batch_messages} works in a commit, gathered for {store.gather * 1e3:g} ms",
        f"- spool: every body AES-256-GCM under a key of its own, kept in memory up to {spool.memory_body} octets for its first delivery",
        f"- inspection: {inspection.workers} workers; must answer: {', '.join(policy.inspection.outbound)}",
        f"- policy: {len(policy.rules)} rules, those that ship; signatures: {', '.join(keys)}",
        f"- events: {events / messages:.2f} a message, over {messages} messages",
    ]
