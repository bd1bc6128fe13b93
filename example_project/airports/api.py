"""The API: an airport by primary key or by code, and the airports of a country."""

from __future__ import annotations

from django.db.models import QuerySet
from rest_framework import generics, serializers

from airports.models import Airport
from django_cacheaside.rest_framework import CacheAsideViewMixin


class AirportSerializer(serializers.ModelSerializer[Airport]):
    """The columns of an airport."""

    class Meta:
        model = Airport
        fields = ["id", "icao", "iata", "name", "city", "country", "elevation", "lat", "lon", "tz", "version"]
        read_only_fields = ["icao", "country"]


class AirportView(CacheAsideViewMixin, generics.RetrieveUpdateAPIView[Airport]):
    """One airport. A PUT or PATCH with the ETag of a GET in If-Match is refused if somebody wrote in between."""

    queryset = Airport.objects.all()
    serializer_class = AirportSerializer


class AirportByCodeView(CacheAsideViewMixin, generics.RetrieveAPIView[Airport]):
    """One airport, by its ICAO code: the model declares it as a unique key."""

    queryset = Airport.objects.all()
    serializer_class = AirportSerializer
    lookup_field = "icao"
    lookup_url_kwarg = "code"


class AirportsOfCountryView(CacheAsideViewMixin, generics.ListAPIView[Airport]):
    """All airports of a country: the model declares the listing."""

    serializer_class = AirportSerializer

    def get_queryset(self) -> QuerySet[Airport]:
        return Airport.objects.filter(country=self.kwargs["country"]).order_by("pk")
