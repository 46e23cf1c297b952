"""The files of a job: where they are, and how they are replaced so that nobody ever reads half of one."""

from batchproc.sink.atomic import sweep_temporary, write_atomically
from batchproc.sink.data_card import write_data_card
from batchproc.sink.layout import ImageFolder, Layout
from batchproc.sink.manifests import read_manifest, write_manifest
from batchproc.sink.shard_samples import Column

__all__ = [
    "Column",
    "ImageFolder",
    "Layout",
    "read_manifest",
    "sweep_temporary",
    "write_atomically",
    "write_data_card",
    "write_manifest",
]
