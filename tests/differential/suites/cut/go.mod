// Takes the tables of cases out of other builders' test programs.
module strata.build/tests/differential/suites/cut

go 1.26
