"""Customer endpoints that call upstream or hold a connection open."""
