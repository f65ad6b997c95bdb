"""Reports render values. They compute nothing and fetch nothing; each returns text and never prints."""
