"""`python -m workers.emulator`: the server without Django."""

if __name__ == "__main__":
    # Child processes load this module too, under another name, and need none of it.
    from workers.emulator import cli

    cli.main()
