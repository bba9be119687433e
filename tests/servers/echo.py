"""A program that says how it was started, and ends with 7."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    print(os.environ["SLUIS_COURT"], Path.cwd(), sys.argv[1:], sys.orig_argv[1:3], sys.flags.utf8_mode, sys.stdin.read())
    print("said", file=sys.stderr)
    sys.exit(7)
