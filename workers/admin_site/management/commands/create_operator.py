"""`manage.py create_operator NAME --role ROLE`: creates users of the admin site."""

import secrets
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from jobs.accounts import audit
from workers.admin_site import roles
from workers.admin_site.roles import OperatorRole

PASSWORD_BYTES = 18


class Command(BaseCommand):
    """Create or change an operator; writes only the password to stdout."""

    help = (
        "Create a user of the admin site with a role, or change the role of a user;"
        " prints the password of a new user (or with --reset-password)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments."""
        parser.add_argument("name")
        parser.add_argument("--role", required=True, choices=[*OperatorRole])
        parser.add_argument("--reset-password", action="store_true")

    @transaction.atomic
    def handle(self, *_args: Any, **options: Any) -> None:
        """Create or change the user; raises CommandError for a superuser."""
        roles.make_roles()
        user, is_new = User.objects.get_or_create(username=options["name"])
        if user.is_superuser:
            raise CommandError(f"{user} is a superuser and has all permissions.")
        user.is_staff = True
        user.groups.set(Group.objects.filter(name=options["role"]))
        password = ""
        if is_new or options["reset_password"]:
            password = secrets.token_urlsafe(PASSWORD_BYTES)
            user.set_password(password)
        user.save()
        audit.record(
            type="operator.created" if is_new else "operator.changed",
            actor=audit.COMMAND,
            at=timezone.now(),
            name=user.username,
            role=options["role"],
        )
        if password:
            self.stdout.write(password)
        else:
            self.stderr.write(
                f"{user} now has the role {options['role']}; the password is unchanged."
                " Use --reset-password to set a new one."
            )
