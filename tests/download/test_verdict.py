"""Status codes and headers decide the failure's code and when it may be tried again."""

import pytest

from batchproc.download.verdict import Asked, forbids_ai, judge, retry_after_seconds
from batchproc.errors import Retry, StageError

ASKED = Asked(
    host="a.example",
    conditional=False,
    max_bytes=1000,
    honour_robots=True,
    robots_name="batchproc",
)
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("status", "code", "retry"),
    [
        *((status, f"http.{status}", Retry.NEVER) for status in (400, 401, 403, 404, 410, 451)),
        *((status, f"http.{status}", Retry.BACKOFF) for status in (408, 425, 500, 502, 503, 504, 520, 524, 529)),
        (429, "rate", Retry.HOST),
        (407, "proxy", Retry.NEXT_RUN),
        (204, "image.empty", Retry.ONCE),
        (205, "image.empty", Retry.ONCE),
        (206, "proto", Retry.ONCE),
        (304, "proto", Retry.ONCE),
    ],
)
def test_a_status_decides(status: int, code: str, retry: Retry) -> None:
    with pytest.raises(StageError) as caught:
        judge(status, {}, ASKED)

    assert (code, retry) == (caught.value.code, caught.value.retry)


@pytest.mark.parametrize(
    ("status", "value", "retry", "seconds"),
    [
        (429, "7", Retry.HOST, 7.0),
        (503, "7", Retry.HOST, 7.0),
        (429, "-3", Retry.HOST, 0.0),
        (429, "soon", Retry.HOST, None),
        (429, "5, 9", Retry.HOST, 9.0),
        (429, "315360000", Retry.HOST, 315360000.0),
        (429, "120.0", Retry.HOST, 120.0),
        (429, "2.5", Retry.HOST, 2.5),
        (429, "--5", Retry.HOST, None),
        (429, "\u0662", Retry.HOST, None),  # a digit, but not of ASCII
        (429, "1e3", Retry.HOST, None),
        (429, "nan", Retry.HOST, None),
        (429, "", Retry.HOST, None),
        (503, "Sun, 06 Nov 1994 08:50:07 GMT", Retry.HOST, 30.0),
        (503, "Sun, 06 Nov 1994 08:00:00 GMT", Retry.HOST, 0.0),
    ],
)
def test_retry_after_pauses_the_host(status: int, value: str, retry: Retry, seconds: float | None) -> None:
    with pytest.raises(StageError) as caught:
        judge(status, {"retry-after": value, "date": DATE}, ASKED)

    assert ("rate", retry, seconds) == (caught.value.code, caught.value.retry, caught.value.retry_after_seconds)


def test_a_date_is_measured_against_our_clock_when_the_reply_has_none() -> None:
    assert 10.0 == retry_after_seconds(DATE, "", now=784111767.0)


@pytest.mark.parametrize("value", ["noai", "NoImageAI", "noindex, noai", "batchproc: noai", "all, *: noimageai"])
def test_noai_is_heard(value: str) -> None:
    assert forbids_ai(value, "batchproc")


@pytest.mark.parametrize(
    "value", ["", "noindex", "otherbot: noai", "unavailable_after: 25 Jun 2010 15:00:00 PST", "noairplanes"]
)
def test_other_tags_do_not_count_as_noai(value: str) -> None:
    assert not forbids_ai(value, "batchproc")


def test_a_length_over_the_limit_is_too_large() -> None:
    with pytest.raises(StageError) as caught:
        judge(200, {"content-length": "1001"}, ASKED)

    assert ("too_large", Retry.NEVER) == (caught.value.code, caught.value.retry)


def test_a_304_that_was_asked_for_is_fine() -> None:
    judge(304, {}, Asked(**{**{name: getattr(ASKED, name) for name in Asked.__slots__}, "conditional": True}))
