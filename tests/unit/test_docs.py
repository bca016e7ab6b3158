"""What is generated in docs/ is up to date."""

from docs import api, dbus, options


def test_the_reference_is_that_of_the_code() -> None:
    assert dbus.PAGE.read_text() == dbus.page(), "stale: make docs"


def test_the_reference_of_the_api_is_that_of_the_code() -> None:
    assert api.PAGE.read_text() == api.page(), "stale: make docs. Does API_VERSION have to change?"


def test_the_options_are_those_of_the_table() -> None:
    assert options.PAGE.read_text() == options.page(), "stale: make docs"


def test_everything_is_explained() -> None:
    for _, _, kind in dbus.OBJECTS:
        documented = [kind, *(m.function for m in kind.methods.values()), *(p.getter for p in kind.properties.values())]
        rules = [*(m.rule for m in kind.methods.values()), *(p.read for p in kind.properties.values())]
        rules += [p.write for p in kind.properties.values() if p.write]
        for what in (*documented, *rules):
            assert what.__doc__, f"{kind.__name__}: {what}"
    for what, methods in api.API:
        assert all(each.__doc__ for each in (what, *(getattr(what, name) for name in methods))), what
