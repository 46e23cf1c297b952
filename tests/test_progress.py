"""What is shown while a run is under way, where there is no terminal."""

from threading import Event

from batchproc.progress import BEAT_SECONDS, Heartbeat
from batchproc.signals import doing


def test_a_heartbeat_says_every_minute_how_far_it_is() -> None:
    shown: list[str] = []
    waits: list[float] = []
    ended = Event()

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 3:
            ended.set()
        return ended.is_set()

    with doing("12 of 240 items"), Heartbeat(shown.append, wait=wait):
        assert ended.wait(10)

    assert [BEAT_SECONDS] * 3 == waits
    assert ["12 of 240 items"] * 2 == [text.partition(" ")[2] for text in shown]


def test_a_short_run_has_none() -> None:
    shown: list[str] = []

    with Heartbeat(shown.append):
        pass

    assert [] == shown
