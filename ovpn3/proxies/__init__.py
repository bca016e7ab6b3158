"""Typed clients of the services. docs/api.md says which of them programs of others may rely on."""

API_VERSION = 1  # of what docs/api.md names; raised when a program that uses it would have to change
