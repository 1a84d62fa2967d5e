// Writes buildah's conformance cases as folders: its table, cut out of its test program, and stand-ins for what the table names.
module strata.build/tests/differential/suites/buildah

go 1.26
