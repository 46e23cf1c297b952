"""The version, in one place: the package metadata, `--version` and the user agent read it here."""

VERSION = "0.1.0"
