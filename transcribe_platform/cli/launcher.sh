#!/bin/sh
# `make` copies this to .venv/bin/transcribe. It finds its own folder when it runs, so
# the clone may be anywhere, in a path with spaces too, and may be moved.
bin=$(dirname "$(readlink -f "$0")")
exec "$bin/python" -c '
import sys
sys.path[0] = sys.argv.pop(1)
from transcribe_platform.cli.main import main
sys.exit(main())
' "$bin/../.." "$@"
