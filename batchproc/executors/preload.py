"""Imported once by the fork server, before it forks any worker: makes it survive signals sent to the whole group.

The fork server ignores SIGINT by itself. If SIGTERM or SIGHUP ended it, the parent would lose the exit codes of its
workers and the means to replace one. Never imported elsewhere: it changes the process that imports it.
"""

import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
