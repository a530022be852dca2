"""Canaries: made-up secrets, each of them put into one place of an agent's work, and looked for wherever anything comes
out. A canary that is seen again tells which way it took.

`kinds`: the forty kinds of secrets. `planting`: which value was put where. `looking`: the disguises in which one may come
out, and the search. `outlets`: everything that a recorder lets out. `program`, `langchain_agent`, `llama_index_agent` and
`crewai_agent`: an agent at work, with a canary in every place where text goes in.
"""
