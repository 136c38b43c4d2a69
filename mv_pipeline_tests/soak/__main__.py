"""`python -m mv_pipeline_tests.soak --minutes 30`: exit code 1 if anything was lost, doubled or falsely alarmed."""

import argparse
import sys

from mv_pipeline_tests.soak.soak import soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    result = soak(asked.minutes, asked.seed)
    sys.stdout.write(f"{result}\n")
    return 1 if result.losses else 0


if __name__ == "__main__":
    sys.exit(main())
