"""RFC 9457 problem responses and the table of error codes."""
