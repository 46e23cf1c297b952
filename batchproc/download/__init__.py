"""The download stage: one URL in, one original out, whatever the server does."""
