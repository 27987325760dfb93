"""The subcommands of `transcribe`, one module each."""
