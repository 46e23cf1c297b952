"""A short campaign over odd headers; the long one is `python -m tests.campaign.pixels`."""

import logging
from collections.abc import Iterator

import pytest

from batchproc.transform.decode import prepare_pillow
from tests.campaign.odd_headers import MAKERS
from tests.campaign.pixels import run


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """tifffile logs its remarks on odd tags."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("form", MAKERS)
def test_odd_headers_have_the_pixels_that_another_decoder_sees(form: str) -> None:
    prepare_pillow()

    assert [] == run(form, cases=150, seed=7)
