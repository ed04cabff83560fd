"""What a file may hold, in imports and event drops. Beyond these bounds a record is rejected, or the file is refused."""

RECORD_LIMIT = 1024 * 1024  # bytes of a line, and of a record of several lines
ERROR_RECORD_LIMIT = 5 * RECORD_LIMIT  # of an error file: quotes are doubled there, and raw records are base64
MOST_COLUMNS = 10_000  # of a header
RAW_KEPT = 64 * 1024  # bytes that are kept of a record which is too large
BLOCK = 2 * RECORD_LIMIT  # bytes that are looked at together
MOST_RECORDS = 50_000  # of a frame
LEAST_EXPANDED = 64 * 1024 * 1024
MOST_EXPANSION = 200  # what text compresses by; a gzip bomb by up to 1,000
LEAST_ROWS = 100_000
MOST_ROWS_PER_BYTE = 4  # a row of plain text takes two bytes; gzip of real rows holds far less than one row in a byte


def most_expanded(size: int) -> int:
    """The bytes that a compressed file of a size may hold."""
    return max(LEAST_EXPANDED, MOST_EXPANSION * size)


def most_rows(size: int) -> int:
    """The rows that a file of a size may hold, so that the work for it is bounded by its bytes."""
    return LEAST_ROWS + MOST_ROWS_PER_BYTE * size
