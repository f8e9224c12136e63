"""`python -m bench NAME`: run one measurement; without a name, name them all."""

import sys
from importlib import import_module

NAMES = ("placing",)

if len(sys.argv) != 2 or sys.argv[1] not in NAMES:
    sys.exit(f"python -m bench {{{','.join(NAMES)}}}")
import_module(f"bench.{sys.argv[1]}").run()
