from ovpn3.protocol.replay import WINDOW, ReplayWindow


def test_each_id_once():
    window = ReplayWindow()
    assert [window.accept(5, i) for i in (1, 2, 2, 4, 3, 3, 1)] == [True, True, False, True, True, False, False]


def test_id_zero_is_invalid():
    assert not ReplayWindow().accept(5, 0)


def test_a_later_time_starts_anew_and_an_earlier_one_is_dropped():
    window = ReplayWindow()
    assert window.accept(5, 9)
    assert window.accept(6, 1)
    assert not window.accept(5, 10)
    assert not window.accept(6, 1)


def test_edges_of_the_window():
    window = ReplayWindow()
    assert window.accept(1, WINDOW + 10)
    assert window.accept(1, 11)
    assert not window.accept(1, 10)
    assert window.accept(1, 2**32 - 1)
    assert not window.accept(1, WINDOW + 10)
