from strata_builder import start

start.command()
