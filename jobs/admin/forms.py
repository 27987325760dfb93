"""The forms of the admin pages: what services would refuse, said beside its field."""

from typing import Any

from django import forms
from rest_framework.serializers import ValidationError as FieldError

from jobs import options
from jobs.accounts.authentication import ALL_SCOPES
from jobs.api.keys.serializers import AllowedIpsField
from jobs.errors import InvalidRequest
from jobs.models import ApiKey, Region, Tenant

# A region is sent the setting it names: it must not be able to name any other.
KEY_SETTING_PREFIX = "DEEPGRAM_"


class TenantForm(forms.ModelForm):  # type: ignore[type-arg]  # not at run time
    """A tenant's share, limits and defaults."""

    class Meta:
        model = Tenant
        exclude = ["is_paused", "created_at"]  # noqa: DJ006  new limits join by themselves

    def clean_weight(self) -> int:
        """Refuse nothing at all: that is what pausing is for."""
        return _at_least_one(self.cleaned_data["weight"])

    def clean_default_options(self) -> dict[str, Any]:
        """Refuse options that the API would refuse."""
        given = self.cleaned_data["default_options"] or {}
        if not isinstance(given, dict):
            raise forms.ValidationError("This is a JSON object.")
        try:
            return options.check_options(given)
        except InvalidRequest as error:
            raise forms.ValidationError(error.message) from error

    def clean_allowed_regions(self) -> list[str]:
        """Refuse a region that is not there."""
        names = self.cleaned_data["allowed_regions"] or []
        known = set(Region.objects.values_list("name", flat=True))
        if not isinstance(names, list) or not all(name in known for name in names):
            raise forms.ValidationError("This is a list of regions that are there.")
        return names


class KeyChangeForm(forms.ModelForm):  # type: ignore[type-arg]
    """What can be changed of a key."""

    class Meta:
        model = ApiKey
        fields = ["name", "allowed_ips", "expires_at"]

    def clean_allowed_ips(self) -> list[str]:
        """Refuse what is neither address nor block."""
        field = AllowedIpsField()
        try:
            return list(field.run_validation(self.cleaned_data["allowed_ips"] or []))
        except FieldError as error:
            message = "This is a list of addresses and blocks such as 192.0.2.0/24."
            raise forms.ValidationError(message) from error


class KeyForm(KeyChangeForm):
    """A key to issue; whose it is and what it may do is said once."""

    scopes = forms.MultipleChoiceField(choices=[(s, s) for s in ALL_SCOPES])

    class Meta(KeyChangeForm.Meta):
        fields = ["tenant", "scopes", *KeyChangeForm.Meta.fields]


class RegionForm(forms.ModelForm):  # type: ignore[type-arg]
    """Where an upstream is (its page adds the address) and what it allows."""

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

    def clean_weight(self) -> int:
        """Refuse nothing at all: that is what draining is for."""
        return _at_least_one(self.cleaned_data["weight"])

    def clean_key_setting(self) -> str:
        """Refuse a setting that holds another secret."""
        name: str = self.cleaned_data["key_setting"]
        if not name.startswith(KEY_SETTING_PREFIX):
            message = f"This is the name of a setting, {KEY_SETTING_PREFIX}…"
            raise forms.ValidationError(message)
        return name

    def clean_pools(self) -> dict[str, int]:
        """Refuse what is no limit."""
        pools = self.cleaned_data["pools"] or {}
        if not isinstance(pools, dict) or not all(
            type(limit) is int and limit > 0 for limit in pools.values()
        ):
            message = 'This is an object of limits such as {"diarize": 25}.'
            raise forms.ValidationError(message)
        return pools


def _at_least_one(number: int) -> int:
    if number < 1:
        raise forms.ValidationError("This is 1 or more.")
    return number
