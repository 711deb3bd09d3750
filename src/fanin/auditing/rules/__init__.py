"""The rules of an audit, one family in a file."""
