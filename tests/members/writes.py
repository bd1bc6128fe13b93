"""What is written to a swapped user, executed in a process of that project: the second process is another one of it."""

from __future__ import annotations

import os
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.models import User as Swapped
from django.contrib.auth.signals import user_logged_in
from django.db import connections

from tests.members.models import Member
from tests.orm import watch, world
from tests.orm.process import Process
from tests.orm.world import Server, made, name
from tests.orm.writes import ROWS, Form, raw
from tests.servers import VALKEY_URL

world.PREPARE |= {
    "member": made(Member, username=name, password="none"),
    "group": made(Group, name=name),
}


def renewed(member: Any) -> None:
    """A new password."""
    member.set_password(name())
    member.save()


def hashed_anew(member: Any) -> None:
    """As ``check_password`` does with a hash made in an old way."""
    member.set_password("please")
    member.save(update_fields=["password"])


FORMS = {
    "create_user": Form(
        lambda db: get_user_model().objects.db_manager(db).create_user(name(), password="please"), {Member: ROWS}
    ),
    "set_password": Form(lambda member: renewed(member), {Member: ROWS}),
    "password saved alone": Form(lambda member: hashed_anew(member), {Member: ROWS}),
    "login": Form(lambda member: user_logged_in.send(sender=Member, request=None, user=member), {Member: ROWS}),
    "update": Form(
        lambda db, member: Member.objects.using(db).filter(pk=member.pk).update(is_active=False), {Member: ROWS}
    ),
    "groups": Form(lambda member, group: member.groups.add(group), {}),
    "SQL": Form(
        lambda db, member: raw(db, "UPDATE members_member SET first_name = 'new' WHERE id = %s", member.pk),
        {Member: ROWS},
    ),
    "delete": Form(lambda member: member.delete(), {Member: ROWS}),
}


def titles() -> list[str]:
    """Of all forms."""
    return list(FORMS)


def is_swapped() -> bool:
    """Is Django's own user out of the way?"""
    return bool(Swapped._meta.swapped) and get_user_model() is Member


def create_table(db: str) -> None:
    """The project's own table, in the tests' database."""
    with connections[db].schema_editor() as editor:
        editor.create_model(Member)


def drop_table(db: str) -> None:
    """As if it had never been there."""
    with connections[db].schema_editor() as editor:
        editor.delete_model(Member)


_readers: list[Process] = []


def check(title: str, db: str, mode: str) -> None:
    """As the fixture of that name does, in this project. The reader ends with this process."""
    if not _readers:
        _readers.append(Process("tests.members.settings"))
    server = Server(os.environ[VALKEY_URL])
    try:
        watch.check(FORMS[title], db, mode, server, _readers[0])
    finally:
        server.close()
