"""Path converters for ids that Django has no converter for."""

from django.urls.converters import StringConverter


class PublicIdConverter(StringConverter):
    """The public id of an API key; any other text does not match the route."""

    regex = "[0-9A-Za-z]{8}"
