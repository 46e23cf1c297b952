"""`batchproc help` shows a page, or the entry of a key, code, step or command."""

import sys

import pytest

from batchproc.cli import main
from batchproc.cli.help import _narrowed


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs `batchproc help` in this process; returns exit code, stdout and stderr."""

    def run(*topic: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["batchproc", "help", *topic])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return run


def test_help_lists_the_pages(call) -> None:
    code, out, err = call()

    assert (0, "") == (code, err)
    assert "  nightly           Every night\n" in out


def test_help_shows_a_page_as_it_is_where_there_is_no_terminal(call) -> None:
    _, out, _ = call("nightly")

    assert out.startswith("# Every night\n")


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("download.retries", "`download.retries`\n\n- allowed: whole number, 0 to 20\n- default: `3`\n"),
        ("max_pixels", "`transform.max_pixels`\n"),
        ("http.404", "- what to do: drop it from the list"),
        ("http.418", "`http.*`\n"),
        ("75", "- means: another run of this job holds the lock"),
        ("quarantined", "killed its worker process twice"),
        ("resize", "## `resize`\n"),
    ],
)
def test_help_shows_the_entry_of_a_key_a_code_or_a_step(call, topic: str, expected: str) -> None:
    code, out, _ = call(topic)

    assert 0 == code
    assert expected in out


def test_help_makes_lists_of_tables_that_are_wider_than_the_terminal() -> None:
    text = "# Codes\n\n| code | means | do | when |\n| --- | --- | --- | --- |\n| `a\\|b` | gone | drop it | |\n\nEnd."

    assert "# Codes\n\n- `a|b`: gone; *do*: drop it\n\nEnd." == _narrowed(text, 20)
    assert text == _narrowed(text, 80)


def test_help_names_the_nearest_topic(call) -> None:
    code, out, err = call("nightyl")

    assert (2, "") == (code, out)
    assert "nightyl: no page, key, code or step of that name; did you mean nightly?" in err


def test_help_says_where_a_word_is_told_of(call) -> None:
    code, out, err = call("waiting gil")

    assert (0, "") == (code, err)
    assert "waiting gil: no entry of that name; it is told of in\n" in out
    assert "batchproc help modes             From your own numbers" in out


def test_help_names_what_else_a_word_may_mean_that_is_only_the_end_of_an_entry(call) -> None:
    code, out, _ = call("slow")

    assert 0 == code
    assert out.startswith("`timeout.slow`")
    assert "\nslow is told of in\n  batchproc help troubleshooting   Why was it slow?\n" in out


def test_help_of_a_whole_name_is_its_entry_alone(call) -> None:
    _, out, _ = call("timeout.slow")

    assert "is told of in" not in out
