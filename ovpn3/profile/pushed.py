"""Options as a server pushes them."""

from ovpn3.errors import ProfileError
from ovpn3.profile.lexer import UNPRINTABLE, Directive, check_option_name, split_words


def parse_line(text: str) -> Directive:
    """One option of a push message, such as `route 10.0.0.0 255.0.0.0`. ProfileError doesn't quote the text."""
    if UNPRINTABLE.search(text):
        raise ProfileError("control character in a pushed option")
    # A token may contain # or ;, so only a word of its own is a comment, as in OpenVPN 2.
    words = split_words(text, comment_inside_word=False)
    if not words:
        raise ProfileError("empty pushed option")
    return Directive(check_option_name(words[0]), words[1:])
