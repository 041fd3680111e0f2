"""`python -m evalkit`."""

from __future__ import annotations

import sys

try:
    from evalkit.cli import main

    main()
except KeyboardInterrupt:  # while the command line itself is loaded
    print("evalkit: stopped", file=sys.stderr)
    sys.exit(130)
