"""The roles of operators: three groups, updated by every migrate.

Viewers can only read. Operators can also cancel, retry and redirect work, and revoke
keys. Administrators can also change limits and tenants, issue keys and erase. Only
superusers and the command `create_operator` manage users, since that permission implies
all others.
"""

from enum import StrEnum
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Q

APPS = ("jobs", "transcripts", "webhooks")
STEERABLE = (
    *("job", "batch", "tenant", "region", "apikey"),
    *("webhookendpoint", "webhookdelivery"),
)
ERASABLE = ("job",)
# Models that administrators add and change in forms.
CHANGEABLE = ("tenant", "region", "apikey", "webhookendpoint")


class OperatorRole(StrEnum):
    """The groups, weakest first; each includes the permissions of the previous."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"


def get_role_name(user: Any) -> str:
    """Return the strongest role of a user, "" for none."""
    if user.is_superuser:
        return "superuser"
    names = set(user.groups.values_list("name", flat=True))
    return next((role for role in reversed(OperatorRole) if role in names), "")


@transaction.atomic
def make_roles() -> None:
    """Create the groups and set their permissions; idempotent."""
    _create_permissions()
    for role in OperatorRole:
        group, _ = Group.objects.get_or_create(name=role)
        group.permissions.set(_permissions_of(role))


def after_migrate(**kwargs: Any) -> None:
    """Create the roles after a migrate, but not after a flush of a test database."""
    if "plan" in kwargs:
        make_roles()


def _create_permissions() -> None:
    """Create the permissions that Django lacks: steer and erase."""
    permissions = [("steer", name) for name in STEERABLE] + [
        ("erase", name) for name in ERASABLE
    ]
    kinds = {
        kind.model: kind for kind in ContentType.objects.filter(app_label__in=APPS)
    }
    Permission.objects.bulk_create(
        [
            Permission(
                content_type=kinds[name],
                codename=f"{verb}_{name}",
                name=f"Can {verb} {name}",
            )
            for verb, name in permissions
        ],
        ignore_conflicts=True,
    )


def _permissions_of(role: OperatorRole) -> list[Permission]:
    query = Q(codename__startswith="view_")
    if role != OperatorRole.VIEWER:
        query |= Q(codename__startswith="steer_")
    if role == OperatorRole.ADMINISTRATOR:
        codenames = [
            f"{verb}_{name}" for verb in ("add", "change") for name in CHANGEABLE
        ]
        query |= Q(codename__startswith="erase_") | Q(codename__in=codenames)
    return list(Permission.objects.filter(query, content_type__app_label__in=APPS))
