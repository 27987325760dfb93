"""Who asks."""

from rest_framework.authentication import TokenAuthentication


class BearerAuthentication(TokenAuthentication):
    """DRF's tokens under the usual scheme."""

    keyword = "Bearer"
