"""The lessons: `python -m lessons.runner list | start N | reset | check`, which `make` calls. See command.py."""

import sys

from deploy import interrupts

if __name__ == "__main__":
    interrupts.exit_silently()
    from lessons.runner import command

    interrupts.raise_keyboard_interrupt()
    sys.exit(command.main(*sys.argv[1:]))
