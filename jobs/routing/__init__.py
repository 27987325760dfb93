"""Which mode (sync, async, stream) and which regions a request may use."""
