"""Runs the emulator without Django: `python -m workers.emulator`."""

if __name__ == "__main__":
    # Child processes import this module too and must not load the server.
    from workers.emulator import cli

    cli.main()
