"""/v1/transcripts/{id}: read one transcript in any format, or share a link."""
