// Writes the settings of kaniko's integration Dockerfiles, from the tables cut out of its test program.
module strata.build/tests/differential/suites/kaniko

go 1.26
