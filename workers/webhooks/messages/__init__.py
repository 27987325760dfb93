"""What a receiver gets: payloads, signatures, secrets, custom headers."""
