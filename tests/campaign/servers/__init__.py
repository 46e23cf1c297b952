"""Whole runs against real servers on loopback: `python -m tests.campaign.servers [CASE...]`.

    programs.py   starts Apache, nginx, HAProxy, node, Varnish, Squid and lighttpd each with a
                  config of its own in a temporary folder
    watching.py   counts the connections that a server has, as the kernel sees them
    job.py        a folder of photographs, a job for them, and what a run of it came to
    cases.py      what is run against what, and what must come of it: servers with few slots, and the list of all
    refusing.py   servers that refuse, wait, fail or are not there
    between.py    what stands between: caches, proxies, certificates; and --refresh

A server that is not installed is skipped with the reason. To add a server: a function in `programs`; a case: a
function in `cases` that takes a `Stage` and returns its `Finding`s, and its name in `CASES`.
"""
