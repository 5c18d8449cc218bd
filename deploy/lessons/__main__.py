"""The lessons: `python -m deploy.lessons list | start N | reset | check`, which `make` calls. See command.py."""

import sys

from deploy import interrupts

if __name__ == "__main__":
    interrupts.exit_silently()
    from deploy.lessons import command

    interrupts.raise_keyboard_interrupt()
    sys.exit(command.main(*sys.argv[1:]))
