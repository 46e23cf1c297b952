#!/usr/bin/env bash
# A server that sends `103 Early Hints` before its 200, asked by requests 2.34.2 (urllib3 2.8.0, http.client) and httpx.
# Expected: the final answer, 200 with its body: a client must be able to parse 1xx answers before the final one, and may
# ignore them (RFC 9110, section 15.2; RFC 8297).
# Seen: requests takes the 103 for the final answer: `status_code` 103, no error from `raise_for_status`, an empty body;
# the 200 is never read. The same after `102 Processing`; after `100 Continue` all is well. httpx 0.28.1 gives the 200.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check requests==2.34.2 urllib3==2.8.0 httpx==0.28.1
"$folder/venv/bin/python" - <<'PYTHON'
import platform
import socket
import sys
import threading

import httpx
import requests

BODY = b"an image"
FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(BODY), BODY)
INTERIM = {
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "102": b"HTTP/1.1 102 Processing\r\n\r\n",
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n",
}


def serve(listener: socket.socket) -> None:
    """Answers every request: the interim answer that its path names, then the final one."""
    while True:
        peer, _ = listener.accept()
        with peer:
            request = b""
            while b"\r\n\r\n" not in request:
                request += peer.recv(4096)
            status = request.split()[1].decode().strip("/")
            peer.sendall(INTERIM[status] + FINAL)


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
print(f"CPython {platform.python_version()}, requests {requests.__version__}, httpx {httpx.__version__}")
seen = {}
for status in INTERIM:
    with requests.Session() as session:
        session.trust_env = False
        by_requests = session.get(url + status, timeout=10)
    by_requests.raise_for_status()
    by_httpx = httpx.get(url + status, timeout=10, trust_env=False)
    seen[status] = (by_requests.status_code, by_requests.content, by_httpx.status_code, by_httpx.content)
    print(f"{status}: requests {seen[status][:2]}, httpx {seen[status][2:]}")
expected = {
    "100": (200, BODY, 200, BODY),
    "102": (102, b"", 200, BODY),
    "103": (103, b"", 200, BODY),
}
sys.exit(seen != expected)
PYTHON
