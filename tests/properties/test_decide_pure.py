"""decide is pure: no file, no socket, no process, no clock, shown by an audit hook in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import datetime, sys, time
from dataclasses import replace

from relay.decide import decide, decide_at_rcpt, prepare
from relay.model.finding import Kind
from relay.policy.models import InspectionPolicy
from tests.stages.decide.cases import *

heard = []
given = policy(
    PASS,
    rule("exe", "quarantine", attachment={"extensions": ["exe"], "names": ["*.exe"]}),
    rule("secret", "reject", subject_contains=["secret"], partner=["court"], any=[{"sender": [".nl"]}, {"not": {"tls": True}}]),
    rule("idn", header_from=["b\\u00fccher.example"]),
    rule("cel", if_="attachments.exists(a, a.name.matches('^x') && a.size > 1) || message.subject.contains('x')"),
    rule("cel-recipient", if_="recipient.endsWith('example') && size(message.to) > 3"),
    rule("night", time={"zone": "Europe/Amsterdam", "days": ["mon"], "from": "22:00", "to": "06:00"}),
    rule("far", time={"zone": "Pacific/Apia", "from": "08:00"}),
    rule("first", first_time_recipient=True, first_time_recipients_today={"more_than": 2}),
    waivers=[waiver("w", "exe", recipient=["partner.example"])],
)
about = [
    case("a@partner.example", "b@court.example", inspection=inspection(found(Kind.ENCRYPTED), attachments=[attachment("x.exe")])),
    case(inspection=UNREADABLE),
    case(inspection=NOBODY_LOOKED),
    case(received_us=1_795_460_000_000_000, inspection=inspection(first_times=("piet@partner.example",), first_times_today=3)),
]

class NoClock:
    def __getattr__(self, name):
        raise AssertionError("decide asked the clock for " + name)

prepare(given)  # as is done when a policy comes into force: zones and the interpreter of CEL are read then
modules = [module for name, module in sys.modules.items() if name.startswith(("relay.decide", "relay.policy", "relay.model"))]
for module in modules:
    for name, value in list(vars(module).items()):
        if value in (time, datetime):
            setattr(module, name, NoClock())

# Whoever calls a clock is seen: the profiler hears of each built-in function.
clocks = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "now", "utcnow", "today", "localtime"}
def profile(frame, event, function):
    if event == "c_call" and function.__name__ in clocks:
        heard.append(("clock", function.__qualname__))

sys.addaudithook(lambda event, arguments: heard.append((event, str(arguments)[:100])))
sys.setprofile(profile)
heard.clear()
said = [decide(one, given, epoch, TODAY, {0: released("exe", "undecidable-encrypted")}) for one in about for epoch in (EPOCH, BRAKED)]
said += [decide_at_rcpt(replace(one, inspection=None), given, EPOCH, TODAY) for one in about]
sys.setprofile(None)
found_out, witness = list(heard), []

sys.setprofile(profile)
open("/dev/null").close()
time.time()
datetime.datetime.now()
sys.setprofile(None)
assert {"open", "clock"} <= {event for event, _ in heard[len(found_out):]}, "the hooks hear nothing"
harmless = {"sys.setprofile", "object.__getattr__", "sys._getframe", "compile", "import", "code.__new__"}
print([item for item in found_out if item[0] not in harmless], len(said))
"""


def test_decide_touches_no_file_no_socket_and_no_clock() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[] 12"
