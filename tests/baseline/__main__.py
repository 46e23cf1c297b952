"""`python -m tests.baseline`: counts anew and prints the table of `limits.py`, each limit an eighth above it."""

import tempfile
from pathlib import Path

from batchproc.origin import EmbeddedOrigin, OriginSettings
from tests.baseline.counting import can_trace, count_calls, count_modules, count_system_calls


def main() -> None:
    settings = OriginSettings(images=40, faults=False, latency_seconds=0.001, jitter=0.0)
    with tempfile.TemporaryDirectory() as name, EmbeddedOrigin(settings) as origin:
        folder = Path(name)
        found = count_modules(folder, origin) | count_calls(folder, origin)
        if can_trace(folder):
            found |= count_system_calls(folder, origin)
    for what, number in found.items():
        print(f'    "{what}": ({round(number):_}, {round(number * 9 / 8):_}),')


if __name__ == "__main__":
    main()
