"""Everything that communicates with the outside."""
