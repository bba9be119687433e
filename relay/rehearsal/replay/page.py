"""The report of a replay as one page for a browser: no script, nothing from elsewhere, and every name and text in it is somebody else's."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from relay.model.text import printable
from relay.rehearsal.replay.counts import NOT_KNOWN
from relay.rehearsal.replay.flow import css, picture

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What the page may load: nothing but its own styles (W3C Content Security Policy Level 3)."""

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1c2430; --soft: #5a6675; --line: #d8dee6; --raised: #f5f7fa;
  --deliver: #1f8a70; --defer: #4a7fb5; --hold: #c99700; --quarantine: #d2691e; --reject: #b0304f; --not-known: #8a8f98; }
@media (prefers-color-scheme: dark) { :root { --page: #14181f; --ink: #e6eaf0; --soft: #9aa6b5; --line: #303846; --raised: #1c222c;
  --deliver: #3fb892; --defer: #74a7dc; --hold: #e3b83c; --quarantine: #ee8f4e; --reject: #e8688a; --not-known: #9aa0aa; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
p { margin: .25rem 0 .75rem; } .soft { color: var(--soft); }
.figures { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; padding: 0; list-style: none; }
.figures li { flex: 1 1 9rem; padding: .6rem .9rem; background: var(--raised); border: 1px solid var(--line); border-radius: .5rem; }
.figures b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; font-size: .92rem; }
caption { text-align: left; color: var(--soft); padding-bottom: .25rem; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th, td { overflow-wrap: normal; } details td { min-width: 9rem; overflow-wrap: anywhere; } details code { white-space: nowrap; }
.word { white-space: nowrap; }
th { font-weight: 600; color: var(--soft); white-space: nowrap; } td.number, th.number { text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: .88em ui-monospace, monospace; }
.mark { display: inline-block; width: .7em; height: .7em; border-radius: 2px; margin-right: .4em; }
.flow { width: 100%; min-width: 34rem; height: auto; } .flow text { fill: var(--ink); font-size: 14px; }
.flow .number { fill: var(--soft); font-variant-numeric: tabular-nums; }
.band { opacity: .28; } .band.other { opacity: .75; } .band:hover { opacity: .9; }
details { border: 1px solid var(--line); border-radius: .5rem; padding: .4rem .9rem; margin: .5rem 0; }
summary { cursor: pointer; }
@media print { details { border: 0; padding: 0; } }
""" + "\n".join(
    f".{css(word)} {{ fill: var(--{css(word)}); }} .mark.{css(word)} {{ background: var(--{css(word)}); }}"
    for word in ("deliver", "defer", "hold", "quarantine", "reject", NOT_KNOWN)
)


def page(found: dict[str, Any]) -> str:
    """`found` is the summary of the counts with what was asked, as `sluis policy replay --json` prints it."""
    return "\n".join(_page(found)) + "\n"


def _page(found: dict[str, Any]) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">'
    yield f"<title>Replay of policy {_text(found['policy'][:16])}</title><style>{STYLE}</style></head><body>"
    yield from _head(found)
    if found["recipients"]:
        yield from _flows(found)
        yield from _rules(found)
        yield from _rest(found)
        yield from _messages(found)
    else:
        yield "<p>The record has no message of that time.</p>"
    yield "</body></html>"


def _head(found: dict[str, Any]) -> Iterator[str]:
    yield "<h1>What this policy would have done</h1>"
    received = f"{'from ' + found['since'] if found['since'] else 'from the beginning'}, until {found['until'] or 'now'}"
    phase = f" As if phase {_text(found['phase'])} had held all the time." if found["phase"] else ""
    yield f'<p class="soft">Policy <code>{_text(found["policy"])}</code>; messages received {_text(received)}.{phase}</p>'
    yield '<ul class="figures">'
    for name, number in (
        ("recipients decided again", found["recipients"]),
        ("messages", found["messages"]),
        ("would come out otherwise", found["differ"]),
        ("not known", found["not_known"]),
        *([("messages erased", found["erased_messages"])] if found["erased_messages"] else []),
    ):
        yield f"<li><b>{number:,}</b>{name}</li>"
    yield "</ul>"


def _flows(found: dict[str, Any]) -> Iterator[str]:
    flows = [(flow["was"], flow["now"], flow["recipients"]) for flow in found["flows"]]
    yield "<h2>From disposition to disposition</h2>"
    yield '<p class="soft">On the left what was decided, on the right what would be; strong bands differ.</p>'
    yield f'<div class="wide">{picture(flows, "All decisions", "all")}</div>'
    differ = [flow for flow in flows if flow[0] != flow[1]]
    if differ and len(differ) < len(flows):
        yield "<h2>Only what differs</h2>"
        yield f'<div class="wide">{picture(differ, "Decisions that differ", "differ")}</div>'
    rows = [[_mark(was), _mark(now) if was != now else "the same", f"{number:,}"] for was, now, number in flows]
    yield from _table("Recipients by old and new disposition", ["was", "would be", "recipients"], rows, numbers=1)


def _rules(found: dict[str, Any]) -> Iterator[str]:
    yield "<h2>Rule by rule</h2>"
    if found["changes"]:
        rows = [
            [f"<code>{_text(one['rule'])}</code>", _text(one["how"]), _mark(one["was"]), _mark(one["now"]), f"{one['recipients']:,}"]
            for one in found["changes"]
        ]
        yield from _table("Why decisions differ", ["rule", "how", "was", "would be", "recipients"], rows, numbers=1)
    else:
        yield "<p>No decision differs.</p>"
    rows = [
        [f"<code>{_text(one['rule'])}</code>", *(f"{one[key]:,}" for key in ("matched", "matches", "stricter", "milder"))]
        for one in found["rules"]
    ]
    titles = ["rule", "matched then", "matches now", "stricter because of it", "milder because of it"]
    yield from _table("What each rule did, in recipients", titles, rows, numbers=4)


def _rest(found: dict[str, Any]) -> Iterator[str]:
    if found["observed"]:
        yield "<h2>Rules that are only observed</h2>"
        rows = [
            [f"<code>{_text(one['rule'])}</code>", _mark(one["would"]), _mark(one["now"]), f"{one['recipients']:,}"]
            for one in found["observed"]
        ]
        yield from _table("What they would have said", ["rule", "would say", "without it", "recipients"], rows, numbers=1)
    if found["routes"]:
        yield "<h2>Other routes</h2>"
        rows = [[_text(one["was"]), _text(one["now"]), f"{one['recipients']:,}"] for one in found["routes"]]
        yield from _table("Delivered both times, and elsewhere", ["was", "would be", "recipients"], rows, numbers=1)
    if found["unanswered"]:
        yield "<h2>What the record does not tell</h2>"
        rows = [[_text(one["condition"]), f"{one['recipients']:,}"] for one in found["unanswered"]]
        yield from _table("Decisions that depend on it are not guessed", ["condition", "recipients"], rows, numbers=1)


def _messages(found: dict[str, Any]) -> Iterator[str]:
    listed = [one for one in found["changes"] if one.get("newest")]
    if listed:
        yield "<h2>Messages</h2>"
    for one in listed:
        number = (
            f"{len(one['newest'])} newest of {one['recipients']:,}" if len(one["newest"]) < one["recipients"] else f"{one['recipients']:,}"
        )
        title = f"<code>{_text(one['rule'])}</code> {_text(one['how'])}: {_mark(one['was'])} to {_mark(one['now'])}"
        yield f"<details><summary>{title} ({number})</summary>"
        whom = any("recipient" in example for example in one["newest"])
        rows = [_example(example, whom) for example in one["newest"]]
        titles = ["message", "received", *(["sender", "recipient"] if whom else []), "because"]
        yield from _table("", titles, rows, numbers=0)
        yield "</details>"


def _example(example: dict[str, Any], whom: bool) -> list[str]:
    people = [_text(example.get("sender") or "<>"), _text(example.get("recipient", ""))] if whom else []
    return [
        f"<code>{_text(example['message'])}/{example['ordinal']}</code>",
        _text(example["received"]),
        *people,
        _text(example["because"]),
    ]


def _table(caption: str, titles: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> Iterator[str]:
    """Cells are HTML already; the last `numbers` columns hold numbers."""
    first = len(titles) - numbers
    yield '<div class="wide"><table>' + (f"<caption>{escape(caption)}</caption>" if caption else "")
    head = (f'<th scope="col"{_number(place >= first)}>{escape(title)}</th>' for place, title in enumerate(titles))
    yield f"<thead><tr>{''.join(head)}</tr></thead><tbody>"
    for row in rows:
        yield f"<tr>{''.join(f'<td{_number(place >= first)}>{cell}</td>' for place, cell in enumerate(row))}</tr>"
    yield "</tbody></table></div>"


def _number(yes: bool) -> str:
    return ' class="number"' if yes else ""


def _mark(word: str) -> str:
    return f'<span class="word"><span class="mark {css(word)}"></span>{_text(word)}</span>'


def _text(text: str) -> str:
    """What cannot be seen is shown as its code: nothing turns a line around, and nothing is markup."""
    return escape(printable(text, 500))
