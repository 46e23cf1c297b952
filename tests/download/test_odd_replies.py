"""What curl and requests take is taken here too, or the table says why not."""

import pytest

from tests.download.conftest import Open, failure, fetch
from tests.download.odd_replies import ODD_REPLIES, Odd
from tests.download.scripted import JPEG, Server, once


@pytest.mark.parametrize("odd", ODD_REPLIES, ids=lambda odd: odd.name)
def test_an_odd_reply_brings_its_picture_or_fails_as_the_table_says(opened: Open, odd: Odd) -> None:
    with Server(once(odd.octets)) as server:
        if odd.code:
            assert odd.code == failure(opened(), server.url()).code
        else:
            assert JPEG == fetch(opened(), server.url()).content


def test_a_malformed_line_is_named_by_its_place_and_its_value_is_not_told(opened: Open) -> None:
    octets = b"HTTP/1.1 200 OK\r\nX-A: b\r\nX Secret: hidden\r\n\r\n"
    with Server(once(octets)) as server:
        message = failure(opened(), server.url()).message

    assert 'header line 2 of the reply is malformed; it begins with "X Secret"' == message
