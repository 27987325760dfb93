"""What will go says so in time, to those who use it."""

from datetime import UTC, datetime

import pytest
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from jobs.deprecation import Deprecation
from jobs.rest.views import ApiView

OLD = Deprecation(since=datetime(2026, 1, 1, tzinfo=UTC), link="https://x.example/old")
GOING = Deprecation(
    since=datetime(2026, 2, 1, tzinfo=UTC),
    sunset=datetime(2026, 8, 1, 12, tzinfo=UTC),
    link="https://x.example/going",
)
LINK = '<{}>; rel="deprecation"; type="text/html"'


class Thing(ApiView):
    authentication_classes = ()
    permission_classes = ()
    query_parameters = {"GET": ("colour",), "PUT": ("colour",)}
    deprecated = {"GET": OLD, "?colour": GOING, "/size": GOING}

    def get(self, _request):
        return Response({"a": 1}, headers={"Link": '</next>; rel="next"'})

    def put(self, _request):
        return Response({})

    def delete(self, _request):
        return Response({})


def ask(method, path="/thing", body=None, **headers):
    make = getattr(APIRequestFactory(), method)
    request = make(path, body or {}, format="json") if body else make(path)
    request.META.update(headers)
    return Thing.as_view()(request).render()


def said(answer):
    return {
        name: answer.headers.get(name) for name in ("Deprecation", "Sunset", "Link")
    }


def test_a_method_that_is_deprecated_says_since_when():
    assert said(ask("get")) == {
        "Deprecation": "@1767225600",
        "Sunset": None,
        "Link": '</next>; rel="next", ' + LINK.format(OLD.link),
    }


@pytest.mark.parametrize(
    ("path", "body"), [("/thing?colour=red", None), ("/thing", {"size": 1})]
)
def test_a_parameter_or_field_says_so_to_those_who_send_it(path, body):
    assert said(ask("put", path, body)) == {
        "Deprecation": "@1769904000",
        "Sunset": "Sat, 01 Aug 2026 12:00:00 GMT",
        "Link": LINK.format(GOING.link),
    }


def test_who_uses_nothing_old_is_not_bothered():
    nothing = dict.fromkeys(("Deprecation", "Sunset", "Link"))

    assert said(ask("put", body={"weight": 1})) == nothing
    assert said(ask("delete")) == nothing


def test_of_several_the_one_that_goes_first_is_told():
    assert said(ask("get", "/thing?colour=red"))["Deprecation"] == "@1769904000"


def test_head_and_an_unchanged_answer_say_it_too():
    tag = ask("get").headers["ETag"]

    unchanged = ask("get", HTTP_IF_NONE_MATCH=tag)

    assert unchanged.status_code == 304
    assert said(unchanged)["Deprecation"] == "@1767225600"
    assert said(ask("head"))["Deprecation"] == "@1767225600"
