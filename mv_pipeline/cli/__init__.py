"""The command line `mv-pipeline`: one file a bigger command; what they do is in the core modules."""
