"""The world's airports: rows that are read often and written now and then."""

from __future__ import annotations

from django.db import models

from django_cacheaside import Listing, Unique
from django_cacheaside.models import CacheAsideMixin


class Country(CacheAsideMixin, models.Model):
    """A country, by its two letters."""

    code = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=60)

    class Meta:
        verbose_name_plural = "countries"

    def __str__(self) -> str:
        return self.name


class Airport(CacheAsideMixin, models.Model):
    """An airport. ``version`` counts the writes to its row: by it the demo's judge tells an old row from a new one."""

    icao = models.CharField(max_length=4, unique=True)
    iata = models.CharField(max_length=3, blank=True, db_index=True)
    lid = models.CharField(max_length=7, blank=True)
    name = models.CharField(max_length=100)
    city = models.CharField(max_length=60, blank=True)
    subd = models.CharField("subdivision", max_length=60, blank=True)
    country = models.ForeignKey(Country, on_delete=models.PROTECT)
    elevation = models.FloatField(help_text="in feet")
    lat = models.FloatField("latitude")
    lon = models.FloatField("longitude")
    tz = models.CharField("time zone", max_length=40)
    version = models.IntegerField(default=0)

    class CacheAside:
        keys = [Unique("icao"), Listing("country", order_by="id")]

    def __str__(self) -> str:
        return f"{self.icao} {self.name}"
