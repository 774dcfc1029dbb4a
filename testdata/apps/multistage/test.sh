#!/bin/sh
# test.sh PROGRAM: says what is wrong, if anything is.
set -eu
test "$("$1" | sed 's/.*, //')" = 'world!'
test "$("$1" there | sed 's/.*, //')" = 'there!'
echo "greet: 2 tests passed"
