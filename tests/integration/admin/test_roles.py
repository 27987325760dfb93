"""Every admin page and action, by role: walked over whatever is registered."""

from io import StringIO

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory

from jobs.models import Event
from tests.support.factories import make_job, make_key
from workers.admin_site import roles
from workers.admin_site.roles import OperatorRole

OURS = {
    kind: page
    for kind, page in admin.site._registry.items()
    if kind._meta.app_label in roles.APPS
}
# Which role is the first that may do what, beside looking.
FIRST = {
    "steer": OperatorRole.OPERATOR,
    "change": OperatorRole.ADMINISTRATOR,
    "add": OperatorRole.ADMINISTRATOR,
    "erase": OperatorRole.ADMINISTRATOR,
    "rotate": OperatorRole.ADMINISTRATOR,
}


@pytest.fixture
def users(db):
    roles.make_roles()
    made = {}
    for role in OperatorRole:
        made[role] = User.objects.create(username=role, is_staff=True)
        made[role].groups.set([Group.objects.get(name=role)])
    return made


def log_in(user):
    client = Client()
    client.force_login(user)
    return client


def may(role, verb):
    return list(OperatorRole).index(role) >= list(OperatorRole).index(FIRST[verb])


def url_of(kind, *rest):
    return "/".join(["/admin", kind._meta.app_label, kind._meta.model_name, *rest, ""])


def who_may(action):
    """Return the verbs; none for Django's own deletion, which is nobody's."""
    verbs = set(getattr(action, "allowed_permissions", ()))
    return verbs - {"delete"}


def offers(page, user):
    request = RequestFactory().get("/")
    request.user = user
    return set(page.get_actions(request))


@pytest.mark.parametrize("role", OperatorRole)
def test_each_role_sees_every_page_and_is_offered_what_it_may(users, role):
    job = make_job(status="completed")
    make_key(job.tenant)
    client, before = log_in(users[role]), Event.objects.count()

    for kind, page in OURS.items():
        name = kind._meta.model_name
        wanted = {
            action
            for do, action, _ in page._get_base_actions()
            if any(may(role, verb) for verb in who_may(do))
        }
        assert offers(page, users[role]) == wanted, name
        assert client.get(url_of(kind)).status_code == 200, name
        can_add = (
            page.has_add_permission.__func__ is admin.ModelAdmin.has_add_permission
        )
        added = client.get(url_of(kind, "add")).status_code
        assert added == (200 if can_add and may(role, "add") else 403), name
        for row in kind.objects.all()[:1]:
            assert client.get(url_of(kind, str(row.pk), "change")).status_code == 200
            assert client.post(url_of(kind, str(row.pk), "delete")).status_code == 403
            for do, action, _ in page._get_base_actions():
                if action in wanted or not who_may(do):
                    continue
                client.post(
                    url_of(kind),
                    {
                        "action": action,
                        "_selected_action": [str(row.pk)],
                        "confirmed": "1",
                    },
                )
    assert Event.objects.count() == before


def test_every_action_says_who_may_do_it():
    for kind, page in OURS.items():
        for do, action, _ in page._get_base_actions():
            if action != "delete_selected":  # Django's own; nobody may
                assert set(do.allowed_permissions) <= set(FIRST), (kind, action)


@pytest.mark.parametrize("role", [*OperatorRole])
def test_nobody_of_them_sees_users(users, role):
    client = log_in(users[role])

    assert client.get("/admin/auth/user/").status_code == 403
    assert client.get("/admin/auth/group/").status_code == 403


def test_staff_without_a_role_gets_no_figures(users):
    client = log_in(User.objects.create(username="temp", is_staff=True))

    assert client.get("/admin/").status_code == 200
    for part in ("now", "today"):
        assert client.get(f"/admin/figures/{part}/").status_code == 403
        assert Client().get(f"/admin/figures/{part}/").status_code == 302
        assert log_in(users["viewer"]).get(f"/admin/figures/{part}/").status_code == 200
        assert (
            log_in(users["viewer"]).post(f"/admin/figures/{part}/").status_code == 405
        )


def test_a_command_makes_an_operator_who_can_log_in(db):
    out = StringIO()

    call_command("create_operator", "ada", "--role", "operator", stdout=out)
    call_command("create_operator", "ada", "--role", "viewer", stdout=StringIO())

    user = User.objects.get()
    assert user.check_password(out.getvalue().strip())
    assert (user.is_staff, user.is_superuser) == (True, False)
    assert [group.name for group in user.groups.all()] == ["viewer"]
    assert list(Event.objects.order_by("pk").values_list("type", "actor")) == [
        ("operator.created", "manage.py"),
        ("operator.changed", "manage.py"),
    ]
    assert Event.objects.filter(data={"name": "ada", "role": "operator"}).count() == 1


def test_a_superuser_is_not_made_less_by_the_command(db):
    User.objects.create_superuser("root")

    with pytest.raises(CommandError, match="superuser"):
        call_command("create_operator", "root", "--role", "viewer")

    assert User.objects.get().groups.count() == 0
