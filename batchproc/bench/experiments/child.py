"""One experiment in a process of its own: what hangs, crashes or leaks there concerns no other, and no bench."""

import json
import sys
from dataclasses import dataclass

from batchproc.bench.experiments.size import SIZES
from batchproc.bench.experiments.table import BY_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which experiment, and at which of `SIZES`."""

    experiment: str
    size: str

    def command(self) -> list[str]:
        """The command line of its process; it prints a JSON list of numbers. Not `-m`: the workers would import us."""
        code = "from batchproc.bench.experiments.child import main; main()"
        return [sys.executable, "-P", "-c", code, self.experiment, self.size]


def main() -> None:
    """Makes the experiment that the command line names and prints its numbers."""
    experiment, size = sys.argv[1:3]
    numbers = [number.to_json() for number in BY_NAME[experiment].run(SIZES[size])]
    sys.stdout.write(json.dumps(numbers))
