"""/v1/api-keys and /v1/me: create, change, rotate and revoke API keys."""
