"""The command line: nouns and verbs over `runtime`, results on stdout, everything else on stderr."""
