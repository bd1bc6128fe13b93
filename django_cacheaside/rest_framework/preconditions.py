"""``If-Match`` and ``If-None-Match``, as RFC 9110 has them and Django's ``get_conditional_response`` judges them."""

from __future__ import annotations

from copy import copy
from secrets import token_hex

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException
from rest_framework.status import HTTP_304_NOT_MODIFIED, HTTP_412_PRECONDITION_FAILED

_OF_ETAGS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")
_OF_DATES = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE")


class NotModifiedError(Exception):
    """The client has this representation: the answer is 304.

    Args:
        etag: That of the representation; None where it has none.
    """

    def __init__(self, etag: str | None) -> None:
        super().__init__(etag)
        self.etag = etag


class PreconditionFailedError(APIException):
    """The row is not, or no longer, the one that the client knows: nothing was done."""

    status_code = HTTP_412_PRECONDITION_FAILED
    default_detail = _("The resource is not what the request's precondition demands.")
    default_code = "precondition_failed"


def is_conditional(request: HttpRequest) -> bool:
    """Does the request depend on an ETag?"""
    return any(request.META.get(name) for name in _OF_ETAGS)


def demand(request: HttpRequest, etag: str | None) -> None:
    """Judge the preconditions of a request for a row that exists. Nothing else may be wrong with it by now.

    Args:
        etag: That of the representation; None if it has none: then only ``*`` matches.

    Raises:
        NotModifiedError: GET or HEAD, and the client has what it would get.
        PreconditionFailedError: The request must not be carried out.
    """
    if any(name in request.META for name in _OF_DATES):  # a row has no date: they are to be ignored
        request = copy(request)
        request.META = {name: value for name, value in request.META.items() if name not in _OF_DATES}
    answer: HttpResponse | None = get_conditional_response(request, etag=etag or f'"{token_hex()}"')
    if answer is None:
        return
    if answer.status_code == HTTP_304_NOT_MODIFIED:
        raise NotModifiedError(etag)
    raise PreconditionFailedError
