"""What a process inherits from the shell or service manager that starts it, made as `make run` needs it."""

import resource
import signal
from contextlib import suppress

# A shell may lower these for one session without a reason that concerns us.
LIMITS = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_CPU)
# macOS allows no more, whatever it says.
OPEN_FILES = 10_240


def settle() -> None:
    """Raise what is limited as far as it may be raised, and take signals as they are usually taken.

    nohup ignores SIGHUP, and that stays; a script's `&` ignores SIGINT; some parents block signals or ignore SIGCHLD.
    Their children inherit it.
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
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
