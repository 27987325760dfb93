"""The OpenAPI document, and the /docs and /problems pages."""
