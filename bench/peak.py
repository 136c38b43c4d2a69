"""One intake in a process of its own, whose peak memory it prints in bytes: `python -m bench.peak FILE`.

The environment names the database, as it does for a run; nothing of the benchmark or of the rivals is loaded here.
"""

import re
import resource
import sys
from pathlib import Path

import mv_pipeline.definitions  # noqa: F401  # a run has loaded all of it before it takes a file
from mv_pipeline.catalog.csv_kinds import find_kind
from mv_pipeline.database.connection import Database
from mv_pipeline.intake.ingest import take_file
from mv_pipeline.settings import load_settings


def main() -> None:
    """Take the file that the argument names and print the peak."""
    path = Path(sys.argv[1])
    with Database().connect() as connection:
        upload = take_file(connection, load_settings(), find_kind(path.parent.name), path, "bench")
    if upload is None or upload.status != "loaded":
        raise SystemExit(f"{path.name} wasn't loaded: {upload}")
    print(peak_bytes())  # noqa: T201  # the answer to the parent


def peak_bytes() -> int:
    """The largest resident size of this process so far."""
    status = Path("/proc/self/status")
    # ru_maxrss of a fresh process is its parent's on Linux.
    match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    if match:
        return int(match[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
