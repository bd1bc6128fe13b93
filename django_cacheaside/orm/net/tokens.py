"""SQL text as tokens: just enough to know what is a word, what is quoted, and which placeholders there are.

The dialect is not known, so whatever MySQL, PostgreSQL and SQLite would cut differently is a doubt, never a guess:

- a backslash in a string (an escape in MySQL only; ``ESCAPE '\\'`` alone can be told),
- ``#`` (comment or operator), ``--`` without a space, nested and executable comments, ``$tag$``,
- brackets around more than a name or a subscript.

Everything here is linear in the length of the text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

# [A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*, by what is not in them: a set of a million characters takes re 5 ms
_WORD: Final = r"[^\x00-@\[-^`{-\x7f][^\x00-#%-/:-@\[-^`{-\x7f]*"
IDENTIFIER: Final = rf'(?:"[^"]*(?:""[^"]*)*"|`[^`]*(?:``[^`]*)*`|{_WORD})'
NAME: Final = rf"{IDENTIFIER}(?:\s*\.\s*{IDENTIFIER})*"
_BLOCK_COMMENT: Final = r"/\*(?!M?!)[^*/]*(?:(?:\*(?!/)|/(?!\*))[^*/]*)*\*/"
COMMENT: Final = rf"--(?:[ \t][^\r\n]*)?(?=\r?\n|\Z)|{_BLOCK_COMMENT}"
TOKEN: Final = re.compile(
    r"\(\s*%s(?:\s*,\s*%s)*\s*\)"  # a list of placeholders is one token: IN (…) of thousands costs as much as of one
    rf"|%s|%%|'[^']*'|{NAME}|\[[\w\s,.:%]*\]|\d[\w.]*|--[^\r\n]*(?:\r(?!\n))?|{_BLOCK_COMMENT}"
    r"|/\*|\|\||::|:\w+|@@?\w+|\S",
    re.ASCII,
)
_IDENTIFIER: Final = re.compile(IDENTIFIER, re.ASCII)
_COMMENT: Final = re.compile(COMMENT)
_CUT_DIFFERENTLY: Final = frozenset("'\"`[]{}#$\\\0")
_OTHER_STYLES: Final = re.compile(r"%%%|%[(bt]|\?|(?<![:\w]):\w|\$\d|@\w")


class Tokens(NamedTuple):
    """One statement's tokens, without its comments.

    ``words`` are the tokens verbatim; a dotted name and a parenthesised list of placeholders are one token each.
    ``keys`` are the same in upper case, to compare with keywords: a quoted name keeps its quotes and equals none.
    """

    text: str
    words: list[str]
    keys: list[str]

    def pairs(self) -> dict[int, int] | None:
        """Map the index of each ``(`` and ``CASE`` to that of its ``)`` or ``END``; None if they don't match."""
        opened: list[int] = []
        pairs: dict[int, int] = {}
        for index, key in enumerate(self.keys):
            if key in ("(", "CASE"):
                opened.append(index)
            elif key in (")", "END"):
                if not opened or (self.keys[opened[-1]] == "(") is (key == "END"):
                    return None
                pairs[opened.pop()] = index
        return None if opened else pairs

    def placeholders_before(self) -> list[int]:
        """For each index, the number of placeholders in the tokens before it; one entry more than tokens."""
        return list(accumulate((word.count("%s") for word in self.words), initial=0))

    def is_countable(self) -> bool:
        """Do the ``%s`` among the tokens stand for the parameters one by one?

        Drivers count a ``%s`` in a string or a comment too, or know other styles (``%(name)s``, ``%b``, ``?``, ``$1``).
        """
        text, words = self.text, self.words
        count = text.count("%s")
        if count != words.count("%s") + sum(word.count("%s") for word in words if word[0] == "("):
            return False
        is_plain = count == text.count("%") and not ("?" in text or ":" in text or "$" in text or "@" in text)
        return is_plain or _OTHER_STYLES.search(text) is None


def tokenize(text: str) -> Tokens | None:
    """Cut ``text``; None if not every dialect would cut it so."""
    words: list[str] = TOKEN.findall(text)
    if "--" in text or "/*" in text:
        words = [word for word in words if not _COMMENT.fullmatch(word)]
        if any(word.startswith(("--", "/*")) for word in words):
            return None
    if not _CUT_DIFFERENTLY.isdisjoint(words) or ("\\" in text and not _backslashes_are_plain(text)):
        return None
    return Tokens(text, words, [word.upper() for word in words])


@lru_cache(maxsize=1024)
def name_parts(name: str) -> tuple[str, ...]:
    """A name token's parts without quotes: ``"public"."Book"`` → public, Book. Unquoted parts become lower case."""
    return tuple(
        part[1:-1].replace(part[0] * 2, part[0]) if part[0] in '"`' else part.lower()
        for part in _IDENTIFIER.findall(name)
    )


def is_name(word: str) -> bool:
    """Is the token a name, dotted or not, quoted or not? Keywords are."""
    return _IDENTIFIER.match(word) is not None


def _backslashes_are_plain(text: str) -> bool:
    r"""Are the only backslashes those of ``ESCAPE '\'``, and would MySQL's reading of these be no SQL?

    To MySQL that string goes on to the next quote, wherever it stands. If that is of another ``'\'``, MySQL finds a
    bare backslash next; if there is none, no end: so the text was not meant for MySQL.
    """
    before, found, after = text.partition("'\\'")
    rest = after.replace("'\\'", "")
    return bool(found) and "\\" not in before + rest and "'" not in rest
