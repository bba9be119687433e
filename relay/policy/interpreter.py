"""The interpreter of CEL that runs expressions. The only place that knows common-expression-language; `relay.policy.expression` checks with
it what its engine takes, `relay.decide.expression` decides with it."""

import importlib.util
from functools import lru_cache
from importlib.machinery import PathFinder
from typing import Any

FAILED = (ValueError, LookupError, TypeError, RuntimeError, OverflowError, ZeroDivisionError)
"""What it raises where an expression comes to an error."""


@lru_cache(maxsize=1)
def interpreter() -> Any:
    """Its module alone: the package around it loads a command line program, and 30 MB with it."""
    package = importlib.util.find_spec("cel")
    found = PathFinder.find_spec("cel.cel", package.submodule_search_locations if package else None)
    if found is None or found.loader is None:
        raise ImportError("common-expression-language is not installed whole")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
