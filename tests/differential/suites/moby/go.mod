// Runs moby's tests of `docker build`, cut out of its test programs, with stand-ins for all that they use: what each asks
// docker to build is written down.
module strata.build/tests/differential/suites/moby

go 1.26
