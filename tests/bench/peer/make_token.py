"""`python -m tests.bench.peer.make_token`: the schema and a customer's token."""

import os
import sys

import django

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.bench.peer.settings"
    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from rest_framework.authtoken.models import Token

    call_command("migrate", verbosity=0)  # first what the tables below refer to
    call_command("migrate", run_syncdb=True, verbosity=0)
    user = get_user_model().objects.create_user("customer")
    sys.stdout.write(Token.objects.create(user=user).key)
