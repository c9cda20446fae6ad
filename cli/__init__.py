"""The command line: one file a command; each parses, wires the rooms together and renders."""
