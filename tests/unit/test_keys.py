"""Names of keys: one per row, all of a model in one slot, whatever the alias does to them."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest
from redis.crc import key_slot

from django_cacheaside.keys import LONGEST_IDENT, KeySpace, text_ident


def plain(key: str) -> str:
    return key


def prefixed(key: str) -> str:
    return f"shop:1:{key}"


def suffixed(key: str) -> str:
    return f"{key}:v1"


def hashed(key: str) -> str:
    """Keeps the hash tag, as the documentation asks of a function that hashes."""
    tag, _, rest = key.partition("}")
    return f"p:{tag}}}{sha256(rest.encode()).hexdigest()}"


def by_length(key: str) -> str:
    """No constant prefix."""
    return f"{len(key)}:{key}"


MAKE_KEYS: list[Callable[[str], str]] = [plain, prefixed, suffixed, hashed, by_length]


class TestKeySpace:
    @pytest.mark.parametrize("make_key", MAKE_KEYS)
    @pytest.mark.parametrize("ident", ["1", "-1", "another", "", "ü🙂", "{x}", "e:1", "a b\r\n"])
    def test_every_key_is_made_by_the_alias(self, make_key: Callable[[str], str], ident: str) -> None:
        """Short cuts for a constant prefix change no key."""
        space = KeySpace("shop.product", "main", make_key)
        assert space.epoch == make_key("{shop.product@main}g")
        assert space.entry(ident) == make_key("{shop.product@main}e:" + ident)
        assert space.lease(ident) == make_key("{shop.product@main}l:" + ident)

    @pytest.mark.parametrize("make_key", MAKE_KEYS)
    @pytest.mark.parametrize("database", ["main", "a{b}c", "}{", "ü"])
    def test_all_keys_of_a_model_are_in_one_slot(self, make_key: Callable[[str], str], database: str) -> None:
        space = KeySpace("shop.product", database, make_key)
        keys = [space.epoch, *(make(ident) for make in (space.entry, space.lease) for ident in ("1", "{2}", "}3{", ""))]
        assert len({key_slot(key.encode()) for key in keys}) == 1
        assert len(set(keys)) == len(keys)

    @pytest.mark.parametrize("make_key", [plain, hashed])
    def test_models_and_databases_share_no_key(self, make_key: Callable[[str], str]) -> None:
        spaces = [KeySpace(label, base, make_key) for label in ("a.b", "a.c") for base in ("x", "y")]
        assert len({space.entry("1") for space in spaces}) == 4
        assert len(set(spaces)) == 4

    def test_equal_ones_are_one(self) -> None:
        one, same, other = (KeySpace("a.b", base, prefixed) for base in ("x", "x", "y"))
        assert one == same
        assert hash(one) == hash(same)
        assert one != other
        assert one != "{a.b@x}"
        assert repr(one) == "KeySpace({a.b@x})"


class TestTextIdent:
    @pytest.mark.parametrize("text", ["", "de", "Zürich", "日本 🙂", "a b", "x" * LONGEST_IDENT, "a#b"])
    def test_a_short_text_is_itself(self, text: str) -> None:
        assert text_ident(text) == text

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("x" * (LONGEST_IDENT + 1), id="long"),
            pytest.param("#", id="hash-sign"),
            pytest.param("#" + "0" * 32, id="like-a-hash"),
            pytest.param("\ud800", id="lone-surrogate"),
        ],
    )
    def test_another_is_hashed(self, text: str) -> None:
        ident = text_ident(text)
        assert ident.startswith("#")
        assert len(ident) == 33
        assert ident.encode()
        assert ident != text

    def test_a_text_like_a_hash_is_not_taken_for_one(self) -> None:
        long = "x" * 200
        assert text_ident(text_ident(long)) != text_ident(long)
