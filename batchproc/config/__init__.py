"""The config of a job: read and checked once, in the parent process; workers never import this."""

from batchproc.config.inspection import deciding_values, json_schema, outdated_schema, resolved, unwise
from batchproc.config.load import CheckSteps, load
from batchproc.config.tables import (
    MOST_THREADS,
    STDIN,
    BenchTable,
    ClusterTable,
    Config,
    DownloadTable,
    HostTable,
    JobTable,
    MetricsTable,
    OriginTable,
    OutputTable,
    Paths,
    ReportTable,
    TransformTable,
)
from batchproc.config.units import LIST_SUFFIXES, is_in_bucket, is_remote

__all__ = [
    "LIST_SUFFIXES", "MOST_THREADS", "STDIN", "BenchTable", "CheckSteps", "ClusterTable", "Config",
    "DownloadTable", "HostTable", "JobTable", "MetricsTable", "OriginTable", "OutputTable", "Paths", "ReportTable",
    "TransformTable", "deciding_values", "is_in_bucket", "is_remote", "json_schema", "load", "outdated_schema",
    "resolved", "unwise",
]  # fmt: skip
