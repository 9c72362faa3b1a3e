"""How the benchmark measures: problems, a process for each competitor, turns, tables."""
