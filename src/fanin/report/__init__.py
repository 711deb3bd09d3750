"""Records as tables for the terminal and as data for JSON. Every function here is pure: record in, renderable out."""
