"""What a client is told of a read that was refused because the database has enough to do."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException
from rest_framework.status import HTTP_503_SERVICE_UNAVAILABLE


class OverloadedError(APIException):
    """``CacheAsideOverloaded`` as an answer: 503, try again later."""

    status_code = HTTP_503_SERVICE_UNAVAILABLE
    default_detail = _("The service is overloaded. Try again later.")
    default_code = "overloaded"
    wait = 1
    """Seconds, for ``Retry-After``, as a throttled request's: a load takes less."""
