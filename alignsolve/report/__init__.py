"""Reports: one page of HTML with tables and pictures, and nothing from elsewhere.

A page has no script and asks for no other file, so that it can be mailed, and read on a phone.
Pages are made by jinja2, of the extra ``report``.
"""

from alignsolve.report.page import Page, Section, Table, inline_svg, render

__all__ = ["Page", "Section", "Table", "inline_svg", "render"]
