"""The product, which names at its end the modules it has loaded: for the tests of what a start costs."""

from __future__ import annotations

import atexit
import sys

from numberline.doors.cli.main import run

SIGN = "Loaded: "


def main() -> None:
    """Run the product's command line and tell what it took."""
    atexit.register(lambda: print(SIGN, *sorted(sys.modules), file=sys.stderr, flush=True))
    run()


if __name__ == "__main__":
    main()
