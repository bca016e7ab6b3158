"""Epoch data keys; tested through the data channel."""
