#!/usr/bin/env bash
# `Range: bytes=-500`, the last 500 bytes, of a file of 100, as readers of ZIP and Parquet ask for its end; and
# `Range: bytes=90-200`; served by Flask 3.1.3 (Werkzeug 3.1.9), Sanic 25.12.1, Twisted 26.10.0, Starlette 1.10.0.
# Expected: a shorter file is sent whole for such a suffix, and a range that ends behind the file ends with it (RFC 9110,
# 14.1.2): 206, `bytes 0-99/100` and `bytes 90-99/100`, as Starlette answers.
# Seen: for the suffix Flask answers 416, Sanic and Twisted 500, Twisted with `Content-Range: bytes -400-99/100`. For the
# other Sanic sends 10 bytes as `bytes 90-200/100`, which is not valid (RFC 9110, 14.4): a client must not use them.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check flask==3.1.3 werkzeug==3.1.9 sanic==25.12.1 \
    twisted==26.10.0 starlette==1.10.0 uvicorn==0.54.0
mkdir "$folder/files"
cat > "$folder/serve.py" <<'PYTHON'
"""Serves a folder with the framework that is named first, on the port that is named last."""

import sys

framework, folder, number = sys.argv[1:]
port = int(number)
if framework == "flask":
    import flask

    flask.Flask("files", static_folder=folder, static_url_path="/").run("127.0.0.1", port)
elif framework == "sanic":
    from sanic import Sanic

    app = Sanic("files")
    app.static("/file.bin", f"{folder}/file.bin", use_content_range=True)
    app.run("127.0.0.1", port, single_process=True, motd=False, access_log=False)
elif framework == "twisted":
    from twisted.internet import reactor
    from twisted.web import server, static

    reactor.listenTCP(port, server.Site(static.File(folder)), interface="127.0.0.1")
    reactor.run()
else:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    uvicorn.run(Starlette(routes=[Mount("/", StaticFiles(directory=folder))]), host="127.0.0.1", port=port)
PYTHON
"$folder/venv/bin/python" - "$folder/files" "$folder/serve.py" <<'PYTHON'
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

folder, serve = sys.argv[1:]
CONTENT = bytes(range(100))
Path(folder, "file.bin").write_bytes(CONTENT)


def get(port: int, asked: str) -> tuple[int, str | None, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/file.bin", headers={"Range": asked})
    answer = connection.getresponse()
    return answer.status, answer.headers["Content-Range"], answer.read()


def wait_for(port: int) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


seen = {}
for framework in ("flask", "sanic", "twisted", "starlette"):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, serve, framework, folder, str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(port)
            for asked, start in (("bytes=-5", 95), ("bytes=-500", 0), ("bytes=90-200", 90)):
                status, content_range, body = get(port, asked)
                seen[framework, asked] = (status, content_range if status in (206, 500) else None)
                print(f"{framework}, {asked}: {status}, Content-Range {content_range}, {len(body)} bytes")
                if status == 206 and body != CONTENT[start:]:
                    sys.exit("changed: other bytes")
        finally:
            server.kill()
right = {"bytes=-5": (206, "bytes 95-99/100"), "bytes=-500": (206, "bytes 0-99/100"), "bytes=90-200": (206, "bytes 90-99/100")}
expected = {(framework, asked): answer for framework, _ in seen for asked, answer in right.items()} | {
    ("flask", "bytes=-500"): (416, None),
    ("sanic", "bytes=-500"): (500, None),
    ("sanic", "bytes=90-200"): (206, "bytes 90-200/100"),
    ("twisted", "bytes=-500"): (500, "bytes -400-99/100"),
}
print("as noted" if seen == expected else "changed")
sys.exit(seen != expected)
PYTHON
