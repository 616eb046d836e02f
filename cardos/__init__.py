"""The chip: an operating system simulator in the manner of FMCOS and PBOC 2.0, and its host side."""
