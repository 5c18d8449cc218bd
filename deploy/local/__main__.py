"""`make run`: starts the local mesh, which is in mesh.py."""

import sys

from deploy import interrupts

if __name__ == "__main__":
    # Until there are processes to stop.
    interrupts.exit_silently()
    from deploy.local import mesh

    sys.exit(mesh.main())
