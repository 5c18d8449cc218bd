"""The riddles: `python -m riddles.runner play | reset | seal | unseal`, the first two of which `make` calls.

`unseal riddle-07` prints the truth of a riddle, `seal riddle-07` takes it from standard input: riddles/README.md.
"""

import sys

from deploy import interrupts

if __name__ == "__main__":
    interrupts.exit_silently()
    from riddles.runner import command

    interrupts.raise_keyboard_interrupt()
    sys.exit(command.main(*sys.argv[1:]))
