"""All kinds of writes: each gives rows a version, and tells what it did just before its COMMIT and behind it.

Who holds a row exclusively may draw its version beforehand. Others draw it while the database locks the row for them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from django.db import connection, transaction
from django.db.models import Func, IntegerField

from tests.soak.history import ANY, NO_ROW
from tests.soak.models import LANES, MODELS, PKS, SLUGS, by_pk, by_slug, in_lane

SEQUENCE = "soak_version"

State = tuple[str, int, str]
"""A subject, a version, and the row that is found then, "" if there is none."""


class RollbackError(Exception):
    """Ends a transaction whose versions nobody may ever see."""


class Log(Protocol):
    """Where a writer says what it does."""

    def sends(self, act: str, states: Sequence[State]) -> None:
        """Its COMMIT is sent next."""

    def is_acknowledged(self, states: Sequence[State] = ()) -> None:
        """It was committed; ``states`` is what was not known before."""


@dataclass(frozen=True)
class Row:
    """What is known of a row, by whoever holds it."""

    label: str
    pk: int
    version: int
    slug: str
    lane: int

    def states(self) -> list[State]:
        """Under which subjects it is found."""
        subjects = (by_pk(self.label, self.pk), by_slug(self.label, self.slug), in_lane(self.label, self.lane, self.pk))
        return [(subject, self.version, subjects[0]) for subject in subjects]

    def gone(self, version: int) -> list[State]:
        """What remains when it is deleted."""
        return [(subject, version, "") for subject, _, _ in replace(self, version=version).states()]


@dataclass
class Hand:
    """Rows that are held, and what is done with them."""

    model: Any
    label: str
    rows: list[Row]
    rng: random.Random
    log: Log

    @property
    def pks(self) -> list[int]:
        return [row.pk for row in self.rows]

    def drawn(self, version: int) -> list[Row]:
        """The same rows, of a new version."""
        return [replace(row, version=version) for row in self.rows]

    def sends(self, act: str, rows: Sequence[Row]) -> None:
        self.log.sends(act, [state for row in rows for state in row.states()])

    @contextmanager
    def in_autocommit(self, act: str, version: int) -> Iterator[None]:
        """One statement inside, whose commit it is."""
        self.sends(act, self.drawn(version))
        yield
        self.log.is_acknowledged()

    @contextmanager
    def in_atomic(self, act: str, version: int) -> Iterator[None]:
        with transaction.atomic():
            yield
            self.sends(act, self.drawn(version))
        self.log.is_acknowledged()

    def anyhow(self, act: str, version: int) -> AbstractContextManager[None]:
        return self.rng.choice((self.in_autocommit, self.in_atomic))(act, version)


def sql(statement: str, *params: object) -> list[tuple[Any, ...]]:
    """Through Django's cursor."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params or None)
        return cursor.fetchall() if cursor.description else []


def draw() -> int:
    """A version that is newer than all of the rows that are held."""
    return int(sql(f"SELECT nextval('{SEQUENCE}')")[0][0])


# --- of rows that are held exclusively -------------------------------------------------------------------------------


def save(hand: Hand) -> None:
    """``save()`` of all columns, or of one; each row is a commit of its own."""
    for row in hand.rows:
        version = draw()
        one = replace_rows(hand, [row])
        fields = hand.rng.choice((None, ["version"]))
        instance = hand.model.objects.get(pk=row.pk)
        instance.version = version
        if fields is None and hand.rng.random() < 0.5:
            with one.in_atomic("save", version):
                instance.save()
        else:
            # of all columns, which are parts of keys: a transaction of its own, or none
            with one.in_autocommit("save in autocommit", version):
                instance.save(update_fields=fields)


def update_by_pk(hand: Hand) -> None:
    version = draw()
    with hand.anyhow("update by pk", version):
        hand.model.objects.filter(pk__in=hand.pks).update(version=version)


def update_by_slug(hand: Hand) -> None:
    (row,) = hand.rows[:1]
    version = draw()
    with replace_rows(hand, [row]).anyhow("update by slug", version):
        hand.model.objects.filter(slug=row.slug).update(version=version)


def bulk_update(hand: Hand) -> None:
    version = draw()
    instances = list(hand.model.objects.filter(pk__in=hand.pks))
    for instance in instances:
        instance.version = version
    with hand.in_atomic("bulk_update", version):
        hand.model.objects.bulk_update(instances, ["version"])


def raw_in_autocommit(hand: Hand) -> None:
    version = draw()
    row = hand.rows[0]
    with replace_rows(hand, [row]).in_autocommit("raw SQL", version):
        sql(f"UPDATE {hand.model._meta.db_table} SET version = %s WHERE id = %s", version, row.pk)


def raw_of_unknown_rows(hand: Hand) -> None:
    version = draw()
    pks = ", ".join(map(str, hand.pks))
    with hand.anyhow("raw SQL of unknown rows", version):
        sql(f"UPDATE {hand.model._meta.db_table} SET version = %s WHERE id + 0 IN ({pks})", version)


def raw_transaction(hand: Hand) -> None:
    version = draw()
    sql("BEGIN")
    try:
        hand.model.objects.filter(pk__in=hand.pks).update(version=version)
        hand.sends("raw COMMIT", hand.drawn(version))
    except BaseException:
        sql("ROLLBACK")
        raise
    sql("COMMIT")
    hand.log.is_acknowledged()


def delete_and_insert(hand: Hand) -> None:
    """As two commits, or as one; with the same primary key, slug and lane, or in another lane."""
    version, again = draw(), draw()
    hand.log.sends("delete", [state for row in hand.rows for state in row.gone(version)])
    if hand.rng.random() < 0.5:
        hand.model.objects.filter(pk__in=hand.pks).delete()
    else:
        with transaction.atomic():
            for instance in hand.model.objects.filter(pk__in=hand.pks):
                instance.delete()
    hand.log.is_acknowledged()
    insert(hand, again)


def insert(hand: Hand, version: int) -> None:
    instances = [hand.model(pk=row.pk, version=version, slug=row.slug, lane=row.lane) for row in hand.rows]
    with hand.in_atomic("insert", version):
        if hand.rng.random() < 0.5:
            hand.model.objects.bulk_create(instances)
        else:
            for instance in instances:
                instance.save(force_insert=True)


def swap_slugs(hand: Hand) -> None:
    """The unique keys of two rows change hands, in one transaction."""
    if len(hand.rows) < 2:
        return
    first, second = hand.rows[:2]
    version = draw()
    objects = hand.model.objects
    with transaction.atomic():
        objects.filter(pk=first.pk).update(slug="in between")
        if hand.rng.random() < 0.5:
            objects.filter(pk=second.pk).update(slug=first.slug, version=version)
        else:
            instance = objects.get(pk=second.pk)
            instance.slug, instance.version = first.slug, version
            instance.save()
        objects.filter(pk=first.pk).update(slug=second.slug, version=version)
        swapped = [replace(first, slug=second.slug, version=version), replace(second, slug=first.slug, version=version)]
        hand.sends("swap slugs", swapped)
    hand.log.is_acknowledged()


def change_lane(hand: Hand) -> None:
    row = hand.rows[0]
    version = draw()
    lane = hand.rng.choice([one for one in LANES if one != row.lane])
    moved = replace(row, lane=lane, version=version)
    left = (in_lane(hand.label, row.lane, row.pk), version, "")
    way = hand.rng.random()
    if way < 0.5:
        hand.log.sends("change lane in autocommit", [*moved.states(), left])
        hand.model.objects.filter(pk=row.pk).update(lane=lane, version=version)
    else:
        with transaction.atomic():
            instance = hand.model.objects.get(pk=row.pk)
            instance.lane, instance.version = lane, version
            instance.save()
            hand.log.sends("change lane", [*moved.states(), left])
    hand.log.is_acknowledged()


def update_after_a_savepoint(hand: Hand) -> None:
    never, version = draw(), draw()
    with hand.in_atomic("update after a savepoint", version):
        try:
            with transaction.atomic():
                hand.model.objects.filter(pk__in=hand.pks).update(version=never)
                raise RollbackError
        except RollbackError:
            pass
        hand.model.objects.filter(pk__in=hand.pks).update(version=version)


# --- of whole lanes, all rows of the model being held exclusively -----------------------------------------------------


def update_by_condition(hand: Hand) -> None:
    lane = hand.rng.choice(hand.rows).lane
    version = draw()
    with replace_rows(hand, [row for row in hand.rows if row.lane == lane]).anyhow("update by condition", version):
        hand.model.objects.filter(lane=lane).update(version=version)


# --- of rows that others may write at the same time: the database decides who is first --------------------------------


def draw_in_the_statement(hand: Hand) -> None:
    """Several writers' intents stand at once, and the statement waits for the other one's row lock."""
    row = hand.rows[0]
    hand.log.sends("draw in the statement", [(subject, ANY, found) for subject, _, found in row.states()])
    ((version,),) = sql(
        f"UPDATE {hand.model._meta.db_table} SET version = nextval('{SEQUENCE}') WHERE id = %s RETURNING version",
        row.pk,
    )
    hand.log.is_acknowledged(replace(row, version=version).states())


def update_under_lock(hand: Hand) -> None:
    with transaction.atomic():
        list(hand.model.objects.filter(pk__in=hand.pks).order_by("pk").select_for_update())
        version = draw()
        hand.model.objects.filter(pk__in=hand.pks).update(version=version)
        own = hand.model.cached.in_bulk(hand.pks)
        assert {row.version for row in own.values()} == {version}, f"wrote {version}, read {own}"
        hand.sends("update under lock", hand.drawn(version))
    hand.log.is_acknowledged()


def update_by_expression(hand: Hand) -> None:
    row = hand.rows[0]
    with transaction.atomic():
        drawn: Any = Func(template=f"nextval('{SEQUENCE}')", output_field=IntegerField())
        hand.model.objects.filter(pk=row.pk).update(version=drawn)
        version = hand.model.objects.values_list("version", flat=True).get(pk=row.pk)
        hand.sends("update by expression", [replace(row, version=version)])
    hand.log.is_acknowledged()


def roll_back(hand: Hand) -> None:
    """What was written here may be seen by nobody else, ever."""
    try:
        with transaction.atomic():
            list(hand.model.objects.filter(pk__in=hand.pks).order_by("pk").select_for_update())
            version = draw()
            hand.model.objects.filter(pk__in=hand.pks).update(version=version)
            assert hand.model.cached.get(pk=hand.pks[0]).version == version
            raise RollbackError
    except RollbackError:
        pass


def replace_rows(hand: Hand, rows: list[Row]) -> Hand:
    """The same hand with fewer rows."""
    return replace(hand, rows=rows)


Act = Callable[[Hand], None]

EXCLUSIVE: tuple[Act, ...] = (
    save,
    update_by_pk,
    update_by_slug,
    bulk_update,
    raw_in_autocommit,
    raw_of_unknown_rows,
    raw_transaction,
    delete_and_insert,
    swap_slugs,
    change_lane,
    update_after_a_savepoint,
)
SHARED: tuple[Act, ...] = (draw_in_the_statement, update_under_lock, update_by_expression, roll_back)


def act(rng: random.Random, log: Log) -> None:
    """Take some rows in hand and do something with them."""
    label = rng.choice(list(MODELS))
    chosen: Act = rng.choice((*EXCLUSIVE, *SHARED, *SHARED, update_by_condition))
    pks = list(PKS) if chosen is update_by_condition else sorted(rng.sample(PKS, rng.choice((1, 1, 2, 3))))
    try:
        hold(label, pks, is_shared=chosen in SHARED)
        hand = Hand(MODELS[label], label, rows_of(label, pks), rng, log)
        if len(hand.rows) == len(pks):
            chosen(hand)
            return
    finally:
        sql("SELECT pg_advisory_unlock_all()")
    restore(label, rng, log)


def restore(label: str, rng: random.Random, log: Log) -> None:
    """Insert the rows that a writer has deleted and did not live to insert again."""
    try:
        hold(label, list(PKS), is_shared=False)
        rows = rows_of(label, list(PKS))
        slugs = [slug for slug in SLUGS if slug not in {row.slug for row in rows}]
        missing = [pk for pk in PKS if pk not in {row.pk for row in rows}]
        lost = [Row(label, pk, NO_ROW, slug, rng.choice(LANES)) for pk, slug in zip(missing, slugs, strict=True)]
        if lost:
            insert(Hand(MODELS[label], label, lost, rng, log), draw())
    finally:
        sql("SELECT pg_advisory_unlock_all()")


def hold(label: str, pks: Sequence[int], *, is_shared: bool) -> None:
    """Until ``pg_advisory_unlock_all``, or until the connection's last statement is over in the database."""
    function = "pg_advisory_lock_shared" if is_shared else "pg_advisory_lock"
    for pk in pks:
        sql(f"SELECT {function}(%s, %s)", list(MODELS).index(label), pk)


def rows_of(label: str, pks: Sequence[int]) -> list[Row]:
    """As the database has them."""
    rows = MODELS[label]._default_manager.filter(pk__in=pks).order_by("pk")
    return [Row(label, row.pk, row.version, row.slug, row.lane) for row in rows]
