"""What is left of library exceptions, as failures. Their texts carry URLs, so only fixed sentences come out of here."""

import socket
import ssl

import requests
from urllib3 import exceptions as urllib3_errors

from batchproc.errors import Code, StageError

# The first that fits counts: subclasses stand before their bases.
_SENTENCES: tuple[tuple[tuple[type[BaseException], ...], Code, str], ...] = (
    (
        (requests.exceptions.SSLError, urllib3_errors.SSLError, ssl.SSLError),
        Code.TLS,
        "the TLS connection to {host} failed",
    ),
    (
        (requests.exceptions.ConnectTimeout, urllib3_errors.ConnectTimeoutError),
        Code.TIMEOUT_CONNECT,
        "{host} did not accept the connection in time",
    ),
    (
        (requests.exceptions.ReadTimeout, urllib3_errors.ReadTimeoutError, TimeoutError),
        Code.TIMEOUT_FIRST_BYTE,
        "{host} did not answer in time",
    ),
    (
        (urllib3_errors.NameResolutionError, socket.gaierror),
        Code.DNS,
        "the name server had no answer for {host}",
    ),
    (
        (urllib3_errors.DecodeError, requests.exceptions.ContentDecodingError),
        Code.ENCODING,
        "the body is not coded as its Content-Encoding says",
    ),
    (
        (urllib3_errors.IncompleteRead, requests.exceptions.ChunkedEncodingError),
        Code.TRUNCATED,
        "the body from {host} ended early",
    ),
    (
        (requests.exceptions.ConnectionError, urllib3_errors.NewConnectionError, ConnectionError),
        Code.CONNECT,
        "the connection to {host} failed",
    ),
    (
        (urllib3_errors.ProtocolError,),
        Code.TRUNCATED,
        "the connection to {host} was lost inside the reply",
    ),
    (
        (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, urllib3_errors.LocationValueError),
        Code.INPUT_URL,
        "this is not a URL that can be downloaded",
    ),
)


def explain(error: BaseException, host: str) -> StageError:
    """The failure that a `requests`, urllib3 or socket exception stands for."""
    for kinds, code, sentence in _SENTENCES:
        if isinstance(error, kinds):
            return StageError(code, sentence.format(host=host))
    return StageError(Code.PROTO, f"the reply of {host} could not be understood")
