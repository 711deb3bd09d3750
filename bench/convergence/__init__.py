"""How soon ten tasks are learned from torch's default, from AnyInit, LSUV, He or Xavier, and from `auto`."""
