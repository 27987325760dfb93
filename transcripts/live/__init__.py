"""Live sessions as jobs: open, store final results, close."""
