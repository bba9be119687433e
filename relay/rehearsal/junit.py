"""Test results in the form that CI servers read: JUnit XML as pytest and others write it."""

from collections.abc import Sequence
from xml.etree import ElementTree

from relay.model.text import printable
from relay.rehearsal.run import Tried


def junit(results: Sequence[Tried], seconds: float) -> bytes:
    """One suite; what differs is the text of a failure."""
    failed = sum(bool(result.differences) for result in results)
    figures = {"name": "sluis policy test", "tests": str(len(results)), "failures": str(failed), "time": f"{seconds:.3f}"}
    suites = ElementTree.Element("testsuites", figures)
    suite = ElementTree.SubElement(suites, "testsuite", {**figures, "errors": "0", "skipped": "0"})
    for result in results:
        file, _, line = result.located.where.rpartition(":")
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": file, "name": printable(result.located.test.name), "file": file, "line": line}
        )
        if result.differences:
            told = [printable(difference, 1000) for difference in result.differences]
            failure = ElementTree.SubElement(case, "failure", {"message": told[0]})
            failure.text = "\n".join(told)
    return bytes(ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"
