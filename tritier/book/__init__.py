"""The book: what its chapters call to show a function, a table or a figure."""

from tritier.book.page import Page, begin, power, provenance, save_figure, show, show_interactive, show_table

__all__ = ["Page", "begin", "power", "provenance", "save_figure", "show", "show_interactive", "show_table"]
