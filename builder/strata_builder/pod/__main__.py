from strata_builder import start

start.pod()
