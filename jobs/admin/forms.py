"""Forms of the admin pages; they report service errors beside the field."""

from typing import Any

from django import forms
from rest_framework.serializers import ValidationError as FieldError

from jobs import options
from jobs.accounts.authentication import ALL_SCOPES
from jobs.api.keys.serializers import AllowedIpsField
from jobs.errors import InvalidRequest
from jobs.models import NO_RATE_LIMIT, ApiKey, Region, Tenant

# Regions receive the value of this setting, so it must not be another secret.
KEY_SETTING_PREFIX = "DEEPGRAM_"


class TenantForm(forms.ModelForm):  # type: ignore[type-arg]  # not at run time
    """Weight, limits and defaults of a tenant."""

    class Meta:
        model = Tenant
        exclude = ["is_paused", "created_at"]  # noqa: DJ006  includes new limits

    def clean_weight(self) -> int:
        """Reject 0: pause the tenant instead."""
        return _at_least_one(self.cleaned_data["weight"])

    def clean_default_options(self) -> dict[str, Any]:
        """Reject options that the API rejects."""
        defaults = self.cleaned_data["default_options"] or {}
        if not isinstance(defaults, dict):
            raise forms.ValidationError("Must be a JSON object.")
        try:
            return options.check_options(defaults)
        except InvalidRequest as error:
            raise forms.ValidationError(error.message) from error

    def clean_allowed_regions(self) -> list[str]:
        """Reject unknown regions."""
        names = self.cleaned_data["allowed_regions"] or []
        known = set(Region.objects.values_list("name", flat=True))
        if not isinstance(names, list) or not all(name in known for name in names):
            raise forms.ValidationError("Must be a list of existing regions.")
        return names


class KeyChangeForm(forms.ModelForm):  # type: ignore[type-arg]
    """The editable fields of an API key."""

    class Meta:
        model = ApiKey
        fields = ["name", "allowed_ips", "expires_at"]

    def clean_allowed_ips(self) -> list[str]:
        """Reject values that are neither an IP address nor a CIDR block."""
        field = AllowedIpsField()
        try:
            return list(field.run_validation(self.cleaned_data["allowed_ips"] or []))
        except FieldError as error:
            message = "Must be a list of IP addresses and CIDR blocks."
            raise forms.ValidationError(message) from error


class KeyForm(KeyChangeForm):
    """A new API key; tenant and scopes cannot change later."""

    scopes = forms.MultipleChoiceField(choices=[(s, s) for s in ALL_SCOPES])

    class Meta(KeyChangeForm.Meta):
        fields = ["tenant", "scopes", *KeyChangeForm.Meta.fields]


class RegionForm(forms.ModelForm):  # type: ignore[type-arg]
    """Name, limits and key setting of a region."""

    max_per_minute = forms.IntegerField(
        required=False, min_value=1, help_text="Empty: the rate is not limited."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance.has_rate_limit:
            self.initial["max_per_minute"] = None

    class Meta:
        model = Region
        fields = [
            "name",
            "key_setting",
            "max_concurrent",
            "max_per_minute",
            "max_streams",
            "pools",
            "weight",
        ]

    def clean_max_per_minute(self) -> int:
        """Return the rate, or the value for none."""
        rate: int | None = self.cleaned_data["max_per_minute"]
        return NO_RATE_LIMIT if rate is None else rate

    def clean_weight(self) -> int:
        """Reject 0: drain the region instead."""
        return _at_least_one(self.cleaned_data["weight"])

    def clean_key_setting(self) -> str:
        """Reject settings that hold another secret."""
        name: str = self.cleaned_data["key_setting"]
        if not name.startswith(KEY_SETTING_PREFIX):
            message = f"Must be the name of a setting: {KEY_SETTING_PREFIX}…"
            raise forms.ValidationError(message)
        return name

    def clean_pools(self) -> dict[str, int]:
        """Reject anything but positive limits."""
        pools = self.cleaned_data["pools"] or {}
        if not isinstance(pools, dict) or not all(
            type(limit) is int and limit > 0 for limit in pools.values()
        ):
            message = 'Must be an object of limits such as {"diarize": 25}.'
            raise forms.ValidationError(message)
        return pools


def _at_least_one(number: int) -> int:
    if number < 1:
        raise forms.ValidationError("Must be 1 or more.")
    return number
