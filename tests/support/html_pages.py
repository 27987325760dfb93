"""Read an HTML page tag by tag."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """The tags of a page, and whether each is closed where it should be."""

    VOID = frozenset({"meta", "link", "br", "img", "input"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
