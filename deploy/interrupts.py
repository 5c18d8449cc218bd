"""Ctrl-C while a program is still starting."""

import signal


def end_without_a_word() -> None:
    """Let Ctrl-C just end this process: a traceback of what it was importing says nothing.

    The Makefile starts Python with the signal held back where it can, as Python has tracebacks of its own start, too.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def end_as_usual() -> None:
    """Let Ctrl-C raise KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
