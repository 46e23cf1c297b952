from collections.abc import Iterator

import pytest

from .site import Site, serving


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as server:
        yield server
