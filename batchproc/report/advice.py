"""What each failure code means and what to do about it, a sentence each."""

from collections.abc import Mapping

_ADVICE: dict[str, tuple[str, str]] = {
    "input.url": ("the line is not a URL that can be fetched", "mend the line; its number is in failures.jsonl"),
    "input.url_too_long": ("the URL is longer than servers accept", "shorten or drop it"),
    "input.encoding": ("the line is not valid UTF-8", "save the list as UTF-8"),
    "input.row": ("the row of the table cannot be read", "mend its quotes, columns or JSON"),
    "policy.scheme": ("neither http nor https", "only those two are fetched"),
    "policy.address": ("a private or reserved address", "name it in allow_addresses if it is yours"),
    "policy.robots": ("robots.txt forbids it, or could not be read", "ask the owner; ignore it only on your own hosts"),
    "policy.noai": ("the server forbids this use in X-Robots-Tag", "ask the owner"),
    "policy.port": ("a port that browsers refuse too", "mend the URL"),
    "dns": ("the host's name does not resolve", "check the spelling; is the host gone?"),
    "connect": ("no connection could be made", "is the server up, and reachable from here?"),
    "tls": ("the certificate or the handshake is not in order", "the owner must renew it; it is never skipped"),
    "timeout.connect": ("no connection in time", "raise connect_timeout, or drop the host"),
    "timeout.first_byte": ("connected, but no answer in time", "raise first_byte_timeout, or lower per_host"),
    "timeout.idle": ("the body stopped in its middle", "it is tried again by the next run"),
    "timeout.slow": ("the body came slower than min_speed", "lower min_speed, or lower per_host"),
    "timeout.total": ("not whole within total_timeout", "raise total_timeout for large images"),
    "rate": ("the host asked for fewer requests", "lower per_host; the next run goes on"),
    "redirect": ("the redirects lead nowhere", "update the URL"),
    "proto": ("the reply is not proper HTTP", "tell the server's owner"),
    "truncated": ("the image ends early", "the source is probably broken; the next run tries again"),
    "too_large": ("larger than max_bytes", "raise max_bytes if it should be taken"),
    "encoding": ("a content coding that was not asked for", "tell the server's owner"),
    "not_image": ("the server sent something else, often an error page", "open the URL: it may want a login"),
    "image.corrupt": ("the image is damaged", "replace the source"),
    "image.bomb": ("more pixels than max_pixels", "raise max_pixels if it should be taken"),
    "image.unsupported": ("a format, or a variant of one, that is not accepted", "see [transform] formats"),
    "image.memory": ("decoding needs more memory than memory_limit", "raise memory_limit, or lower max_pixels"),
    "image.empty": ("no content", "tell the server's owner"),
    "step.error": ("a step of yours raised an exception", "the message names it; mend the step"),
    "io.nospace": ("the disk is full", "make room and run again"),
    "io.perm": ("no permission to write", "check the output folder's owner"),
    "io.other": ("the disk reported an error", "check the disk and its mount"),
    "worker.crash": ("the image crashed the worker", "it is quarantined; report it to the codec's authors"),
    "worker.timeout": ("longer than timeout, so the worker was ended", "raise timeout, or simplify the steps"),
    "worker.memory": ("the worker ran out of memory", "raise memory_limit, or lower workers"),
    "cancelled": ("interrupted on its way", "the next run goes on"),
    "internal.bug": ("a fault in this program", "please report it with its log"),
}  # fmt: skip

_FAMILIES: dict[str, tuple[str, str]] = {
    "http.401": ("the server wants a login", "set headers, if you have access"),
    "http.403": ("the server refuses", "open the URL in a browser; perhaps it refuses programs"),
    "http.404": ("no such image on the server", "drop it from the list, or correct the URL"),
    "http.410": ("gone for good", "drop it from the list"),
    "http.5": ("the server failed", "the next run tries again"),
    "http.": ("the server answered with an error", "open the URL and see"),
    "check.": ("dropped on purpose by a check", "loosen the check if it should be kept"),
}


def can_be_retried(counts: Mapping[str, int]) -> int:
    """How many items `--retry-failed` would try again: all that failed or are quarantined, but no bad lines."""
    return counts["failed"] + counts["quarantined"] - counts["bad_rows"]


def advice(code: str) -> tuple[str, str]:
    """What a code means, and what to do. Never empty: an unknown code says that it is unknown."""
    known = _ADVICE.get(code)
    if known is not None:
        return known
    for prefix, words in _FAMILIES.items():
        if code.startswith(prefix):
            return words
    return "a code that this version does not know", "see failures.jsonl"
