#!/bin/sh
# `make` copies this to .venv/bin/transcribe. It locates its folder at run time, so the
# clone can be in any path, spaces included, and can be moved.
bin=$(dirname "$(readlink -f "$0")")
exec "$bin/python" -c '
import sys
sys.path[0] = sys.argv.pop(1)
from transcribe_platform.cli.main import main
sys.exit(main())
' "$bin/../.." "$@"
