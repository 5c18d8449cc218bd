"""The riddles: `python -m deploy.riddles play | reset | seal | unseal`, the first two of which `make` calls.

`unseal riddle-07` prints the truth of a riddle, `seal riddle-07` takes it from standard input: riddles/README.md.
"""

import sys

from deploy import interrupts

if __name__ == "__main__":
    interrupts.end_without_a_word()
    from deploy.riddles import command

    interrupts.end_as_usual()
    sys.exit(command.main(*sys.argv[1:]))
