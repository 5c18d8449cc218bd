"""Ctrl-C while a program is still starting.

`python -m deploy.interrupts MODULE ARGUMENTS` runs a module, such as pip, that Ctrl-C ends without a word.
"""

import runpy
import signal
import sys


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


if __name__ == "__main__":
    end_without_a_word()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
