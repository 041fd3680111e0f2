"""`python -m evalkit`."""

from __future__ import annotations

from evalkit.cli import main

main()
