"""Ends the processes of `make run` if their manager is killed, and so cannot stop them.

Reads their process group ids from standard input, one per line; its end means that the manager is gone.
"""

import os
import signal
import sys
import time
from contextlib import suppress

# Seconds between SIGTERM and SIGKILL, as honcho's manager has.
KILL_WAIT = 5

if __name__ == "__main__":
    # `pkill -INT -f deploy.local` is meant for the manager.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    groups = [int(line) for line in sys.stdin]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for group in groups:
            with suppress(ProcessLookupError):
                os.killpg(group, number)
        time.sleep(KILL_WAIT if number == signal.SIGTERM else 0)
