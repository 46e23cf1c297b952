"""Paints the landscapes from which the demo's pictures are cut: brushes, things, weather, scenes."""

from batchproc.origin.painting.scenes import PAINTERS, paint

__all__ = ["PAINTERS", "paint"]
