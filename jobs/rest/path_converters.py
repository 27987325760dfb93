"""Path converters for ids that Django has no converter for."""


class PublicIdConverter:
    """The public id of an API key; any other text does not match the route."""

    regex = "[0-9A-Za-z]{8}"

    def to_python(self, value: str) -> str:
        """Return the id unchanged."""
        return value

    def to_url(self, value: str) -> str:
        """Return the id unchanged."""
        return value
