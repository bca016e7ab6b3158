"""Intel's multi-buffer library, found at run time."""
