"""What to do next after failures: mend the config where it decided, try again where it did not."""

from pathlib import Path

from batchproc.record.run import Counts
from batchproc.report.advice import failure_step, named_keys

PATH = Path("out/failures.jsonl")


def step(failures: dict[str, int], **counts: int) -> str:
    known = Counts(**{"failed": sum(failures.values())} | counts)
    return failure_step(failures, known, PATH, "batchproc run job.toml")


def test_a_failure_of_the_config_names_the_key_and_no_flag() -> None:
    assert (
        "see out/failures.jsonl; 120 policy.address: name it in allow_addresses if it is yours; when allow_addresses "
        "has changed, batchproc run job.toml tries them again"
    ) == step({"policy.address": 120})


def test_other_failures_are_tried_again_by_the_flag() -> None:
    assert "see out/failures.jsonl; --retry-failed tries 2 items again" == step({"http.404": 2})
    assert step({"worker.crash": 1}, failed=0, quarantined=1).endswith(
        "--retry-failed tries 1 item again, the quarantined too"
    )


def test_with_both_both_are_named() -> None:
    told = step({"http.404": 9, "too_large": 1})

    assert "1 too_large: raise max_bytes if it should be taken; when max_bytes has changed, " in told
    assert told.endswith("--retry-failed tries all 10 items again")


def test_bad_lines_are_to_be_mended_in_the_list() -> None:
    assert "see out/failures.jsonl, and mend 2 lines of the list" == step({"input.url": 2}, bad_rows=2)


def test_where_nothing_failed_there_is_nothing_to_say() -> None:
    assert "" == step({})


def test_keys_are_told_by_their_tables() -> None:
    assert "[download] allow_addresses, max_bytes, [transform] formats" == named_keys(
        ["download.allow_addresses", "download.max_bytes", "transform.formats"]
    )
