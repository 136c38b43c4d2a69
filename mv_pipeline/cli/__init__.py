"""The command line `mv-pipeline`: one file a bigger command; what they do stands in the core modules."""
