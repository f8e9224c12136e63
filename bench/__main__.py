"""`python -m bench [NAME …]`: run the named measurements, or all."""

import sys
from importlib import import_module

NAMES = ("placing", "loading", "uploading", "access", "trail", "sealing", "addresses", "uploads", "clocks", "casework", "tiles")

chosen = sys.argv[1:] or NAMES
if not set(chosen) <= set(NAMES):
    sys.exit(f"python -m bench {{{','.join(NAMES)}}}")
for name in chosen:
    print(f"# {name}", flush=True)
    import_module(f"bench.{name}").run()
