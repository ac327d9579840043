"""Cells of tables as tests look at them."""


def by_row(table, heads=1):
    """First cell of each row, as text, to the others by their column."""
    return {
        row[0]: dict(zip(table.header[heads:], row[heads:], strict=True))
        for row in table.texts()
    }
