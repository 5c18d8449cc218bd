"""The lessons: `python -m deploy.lessons list | start N | reset | check`, which `make` calls. See command.py."""

import sys

from deploy import interrupts

if __name__ == "__main__":
    interrupts.end_without_a_word()
    from deploy.lessons import command

    interrupts.end_as_usual()
    sys.exit(command.main(*sys.argv[1:]))
