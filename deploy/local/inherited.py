"""Resets resource limits and signal handling that `make run` inherits from the shell or service manager."""

import resource
import signal
from contextlib import suppress

# A shell may lower these for a session, for reasons that do not concern this program.
LIMITS = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_CPU)
# macOS allows no more, whatever its hard limit.
OPEN_FILES = 10_240


def reset() -> None:
    """Raise the limits as far as allowed, and restore the default handling of signals.

    Inherited from parents: a script's `&` ignores SIGINT; some block signals or ignore SIGCHLD. SIGHUP stays ignored
    under nohup.
    """
    for limit in LIMITS:
        soft, hard = resource.getrlimit(limit)
        wanted = min(hard, max(soft, OPEN_FILES)) if limit == resource.RLIMIT_NOFILE and hard != -1 else hard
        if limit == resource.RLIMIT_NOFILE and hard == resource.RLIM_INFINITY:
            wanted = max(soft, OPEN_FILES)
        with suppress(ValueError, OSError):
            resource.setrlimit(limit, (wanted, hard))
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Not Python's default for SIGINT, a traceback: nothing has to be stopped before the process manager handles both.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
