"""The files of certificates and keys that a config names: read before any work, so that a bad one is known then."""

from collections.abc import Iterator

from batchproc.config import Config, DownloadTable, HostTable
from batchproc.errors import Problem, UsageError


def check_certificates(config: Config) -> None:
    """Reads the files of certificates and keys, so that a bad one is known before any work. Raises `UsageError`."""
    tables: dict[str, DownloadTable | HostTable] = {"[download]": config.download}
    tables |= {f'[download.hosts."{pattern}"]': host for pattern, host in config.download.hosts.items()}
    problems = [problem for where, table in tables.items() for problem in _certificate_problems(config, where, table)]
    if problems:
        raise UsageError(problems)


def _certificate_problems(config: Config, where: str, table: DownloadTable | HostTable) -> Iterator[Problem]:
    at_root = config.paths.at_root
    cert, key = at_root(table.client_cert or ""), at_root(table.client_key or "")
    if key and not cert:
        yield Problem(where=f"{where} client_key", message="needs client_cert beside it.")
    for name, files in (("ca_file", (at_root(table.ca_file or ""),)), ("client_cert", ("", cert, key))):
        try:
            if any(files):
                _load(*files)
        except OSError as error:
            import ssl

            is_read = isinstance(error, ssl.SSLError)
            reason = "it is no PEM of that kind, or its key is missing or encrypted" if is_read else error.strerror
            yield Problem(where=f"{where} {name}", message=f"{max(files[:2])} cannot be used: {reason}.")


def _load(*files: str) -> None:
    from batchproc.download.tls import tls_context  # a tenth of the start, for jobs that name such files

    tls_context(*files)
