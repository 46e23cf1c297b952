"""`python -m tests.campaign.servers [--list] [CASE...]`: exit code 1 when something is not as it must be."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.campaign.servers.cases import CASES
from tests.campaign.servers.programs import Missing
from tests.campaign.servers.stage import stage


def main() -> int:
    parser = argparse.ArgumentParser(description="Whole runs against real servers on loopback.")
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--list", action="store_true", help="say what there is")
    arguments = parser.parse_args()
    if arguments.list:
        for name, case in CASES.items():
            print(f"{name:24} {case.__doc__}")
        return 0
    failed = 0
    for name in arguments.cases or CASES:
        failed += run(name)
    print(f"{failed} of the findings are not as they must be" if failed else "all as it must be")
    return 1 if failed else 0


def run(name: str) -> int:
    """Runs one case, prints its findings, and returns how many do not hold."""
    print(f"{name}: {CASES[name].__doc__}", flush=True)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="batchproc-servers-") as folder:
        try:
            for finding in CASES[name](stage(Path(folder))):
                print(f"  {'ok  ' if finding.holds else 'FAIL'} {finding.claim}: {finding.seen}", flush=True)
                failed += not finding.holds
        except Missing as missing:
            print(f"  skipped: {missing}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
