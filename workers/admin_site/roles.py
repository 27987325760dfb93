"""Who of the operators may what: three groups, brought up to date by every migrate.

Viewers look. Operators also steer: whatever ends, repeats or redirects work, and keys
that leaked. Administrators also change limits and customers, issue keys, and erase.
Users themselves are a superuser's, or the command's: who may change users could make
themselves anything.
"""

from enum import StrEnum
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Q

APPS = ("jobs", "transcripts", "webhooks")
STEERED = (
    *("job", "batch", "tenant", "region", "apikey"),
    *("webhookendpoint", "webhookdelivery"),
)
ERASED = ("job",)
# What an administrator adds or changes by a form.
CHANGED = ("tenant", "region", "apikey", "webhookendpoint")


class OperatorRole(StrEnum):
    """The groups, weakest first; each may what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"


def name_role_of(user: Any) -> str:
    """Return the strongest role a user has; "" for none."""
    if user.is_superuser:
        return "superuser"
    names = set(user.groups.values_list("name", flat=True))
    return next((role for role in reversed(OperatorRole) if role in names), "")


@transaction.atomic
def make_roles() -> None:
    """Make the groups and give them exactly their permissions, however often."""
    _make_own_permissions()
    for role in OperatorRole:
        group, _ = Group.objects.get_or_create(name=role)
        group.permissions.set(_permissions_of(role))


def after_migrate(**how: Any) -> None:
    """Make the roles after a migrate; not after each flush of a test's database."""
    if "plan" in how:
        make_roles()


def _make_own_permissions() -> None:
    """Make what Django has no name for: to steer, and to erase."""
    wanted = [("steer", name) for name in STEERED] + [
        ("erase", name) for name in ERASED
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
            for verb, name in wanted
        ],
        ignore_conflicts=True,
    )


def _permissions_of(role: OperatorRole) -> list[Permission]:
    may = Q(codename__startswith="view_")
    if role != OperatorRole.VIEWER:
        may |= Q(codename__startswith="steer_")
    if role == OperatorRole.ADMINISTRATOR:
        changed = [f"{verb}_{name}" for verb in ("add", "change") for name in CHANGED]
        may |= Q(codename__startswith="erase_") | Q(codename__in=changed)
    return list(Permission.objects.filter(may, content_type__app_label__in=APPS))
