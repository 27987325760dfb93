"""Kinds of ids in paths beyond Django's own."""


class PublicIdConverter:
    """The public id of an API key; what is none leads nowhere."""

    regex = "[0-9A-Za-z]{8}"

    def to_python(self, value: str) -> str:
        """Return it as it is."""
        return value

    def to_url(self, value: str) -> str:
        """Return it as it is."""
        return value
