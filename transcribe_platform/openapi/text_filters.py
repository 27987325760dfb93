"""Template filters of the pages: the little Markdown that our texts use."""

from django import template

from transcribe_platform.openapi.docs_pages import format_line, format_text

register = template.Library()
register.filter("line", format_line)
register.filter("text", format_text)
