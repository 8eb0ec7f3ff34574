"""The program `confsync`. Nothing stands here that `--version` would have to wait for."""

import sys

from confsync.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
