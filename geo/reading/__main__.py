"""`python -m geo.reading [FOLDER]`: read the file that the order in the folder names and write it to the standard output.

Without a folder, wait to be told of one.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path


class Frugal:
    """Keeps out what pyogrio and pyarrow look for in passing: two seconds and 150 MB that a reader of Arrow has no use for."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name in ("geopandas", "pandas"):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Frugal())

from geo.reading.source import Refused  # noqa: E402
from geo.reading.stream import written  # noqa: E402
from geo.reading.wall import walled  # noqa: E402


def settled(job: Path) -> None:
    """Be in the folder as if begun there."""
    os.chdir(job)
    os.environ["TMPDIR"] = str(job)
    for stream, name, how in ((0, os.devnull, os.O_RDONLY), (2, "complaints", os.O_WRONLY)):
        place = os.open(name, how)
        os.dup2(place, stream)
        os.close(place)


def main() -> None:
    """Read and write, or leave a refusal in the folder."""
    if len(sys.argv) > 1:
        job = Path(sys.argv[1])
    elif told := sys.stdin.buffer.read():
        job = Path(os.fsdecode(told))
        settled(job)
    else:
        return  # whoever was to tell is gone
    order = json.loads((job / "order.json").read_bytes())
    try:
        walled(order["size"], Path(order["path"]), job)
        written(order, job, sys.stdout.buffer)
    except Refused as refusal:
        # Libraries name the place where they read, which is nobody's business.
        sentence = json.dumps({"sentence": str(refusal), **refusal.facts}, ensure_ascii=False, default=str).replace(f"{job}/", "")
        (job / "refusal").write_text(sentence, "utf-8")
        sys.exit(3)


if __name__ == "__main__":
    main()
