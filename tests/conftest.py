"""Fixtures that several folders share."""

from tests.jobs import make_job, origin

__all__ = ["make_job", "origin"]
