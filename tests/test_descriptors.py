"""The limit of open files is raised as far as it may be, and what is left of it is told."""

import subprocess
import sys

CODE = "from batchproc.descriptors import limit, raise_limit; print(limit(), raise_limit(), limit())"


def limits(soft: int, hard: int) -> list[int]:
    script = f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$@"'
    command = ["bash", "-c", script, "bash", sys.executable, "-c", CODE]
    return [int(word) for word in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    assert [64, 200, 200] == limits(64, 200)


def test_a_limit_that_is_as_high_as_it_may_be_stays() -> None:
    assert [200, 200, 200] == limits(200, 200)
