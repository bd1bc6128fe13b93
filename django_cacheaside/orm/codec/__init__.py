"""Rows as bytes: the columns that a queryset yields, into typed MessagePack and back, exactly or not at all.

    same      one value equals another to the last bit: type, sign of zero, exponent, time zone
    wires     how each kind of value travels
    fields    which of these a model field takes
    row       all columns of a model: one decoder, one fingerprint
    schema    what a fingerprint stands for, and whether entries of other columns can be read

Bytes from the cache are untrusted. There is no pickle here.
"""

from __future__ import annotations

from django_cacheaside.orm.codec.row import RowCodec, row_codec
from django_cacheaside.orm.codec.schema import FINGERPRINT_SIZE

__all__ = ["FINGERPRINT_SIZE", "RowCodec", "row_codec"]
