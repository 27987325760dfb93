"""Runs the command line: `python -m transcribe_platform.cli`."""

import sys

from transcribe_platform.cli.main import main

sys.exit(main())
