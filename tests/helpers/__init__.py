"""Things that several test folders build on."""
