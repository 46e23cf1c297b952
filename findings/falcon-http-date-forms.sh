#!/usr/bin/env bash
# A file with its date in If-Modified-Since, in the three forms that an HTTP date can have; served by Falcon 4.4.0
# (add_static_route) and Starlette 1.10.0 (StaticFiles).
# Expected: 304 for each: who reads a date in HTTP must accept all three, two of them obsolete (RFC 9110, 5.6.7), and what
# cannot be read as a date must be ignored (13.1.3), as Starlette answers.
# Seen: Falcon answers 400, "Invalid header value", to the form of RFC 850 and to that of asctime, and to what is no date: it
# has a reader of all three but does not use it here. Such a client never gets the file.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check falcon==4.4.0 starlette==1.10.0 httpx==0.28.1
mkdir "$folder/files"
"$folder/venv/bin/python" - "$folder/files" <<'PYTHON'
import asyncio
import os
import sys
from pathlib import Path

import falcon
import falcon.testing
import httpx
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

folder = Path(sys.argv[1])
(folder / "file.bin").write_bytes(b"an image")
os.utime(folder / "file.bin", (784111777, 784111777))
FORMS = {
    "IMF-fixdate": "Sun, 06 Nov 1994 08:49:37 GMT",
    "RFC 850": "Sunday, 06-Nov-94 08:49:37 GMT",
    "asctime": "Sun Nov  6 08:49:37 1994",
    "no date": "yesterday",
}
app = falcon.App()
app.add_static_route("/", folder)
client = falcon.testing.TestClient(app)


async def by_starlette(value: str) -> int:
    transport = httpx.ASGITransport(Starlette(routes=[Mount("/", StaticFiles(directory=folder))]))
    async with httpx.AsyncClient(transport=transport, base_url="http://files") as session:
        return (await session.get("/file.bin", headers={"If-Modified-Since": value})).status_code


seen = {}
for name, value in FORMS.items():
    answer = client.simulate_get("/file.bin", headers={"If-Modified-Since": value})
    seen[name] = (answer.status_code, asyncio.run(by_starlette(value)))
    print(f"{name}, {value!r}: Falcon {answer.status}, Starlette {seen[name][1]}")
expected = {"IMF-fixdate": (304, 304), "RFC 850": (400, 304), "asctime": (400, 304), "no date": (400, 200)}
print("as noted" if seen == expected else "changed")
sys.exit(seen != expected)
PYTHON
