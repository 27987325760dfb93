"""The version of the release: package, User-Agent and OpenAPI document use it."""

VERSION = "0.4.0"
