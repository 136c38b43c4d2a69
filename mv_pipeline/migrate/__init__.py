"""Files → database: plans, builds and swaps in what the revisions, the catalogue and the SQL files describe."""
