"""Management command for operator accounts."""
