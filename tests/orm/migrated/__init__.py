"""The migrations of the tests' app, for the test of ``migrate``: otherwise its tables are made from its models."""
