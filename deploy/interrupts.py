"""SIGINT (Ctrl-C) while a program is still starting."""

import signal


def exit_silently() -> None:
    """Let SIGINT end this process without a traceback, which would only show what it was importing.

    Where it can, the Makefile starts Python with the signal blocked, as Python's own start prints tracebacks, too.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def raise_keyboard_interrupt() -> None:
    """Let SIGINT raise KeyboardInterrupt, as is Python's default."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
