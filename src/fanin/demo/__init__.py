"""The demo: the whole way for two networks on real digits, told part by part."""
