"""Cache-aside for Django models on Redis or Valkey: no reader ever sees a row older than the newest commit."""

__version__ = "0.1.0.dev0"
