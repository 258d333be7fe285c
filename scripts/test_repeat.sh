#!/bin/sh
# test_repeat.sh N FOLDER COMMAND...: runs the commands N times, whatever fails. Into FOLDER go runs.txt, with the time of
# each and the tests that failed, and the output of each that failed. Ends with another status than 0 if one did.
set -eu
cd "$(dirname "$0")/.."
runs=$1
folder=$2
shift 2
rm -rf "$folder"
mkdir -p "$folder"

# As ExUnit and pytest name them; else what stands last.
failures() {
    names=$(sed -nE 's/^ +[0-9]+\) (test .*)$/    \1/p; s/^((FAILED|ERROR) .*)$/    \1/p' "$1" | sort -u)
    [ -n "$names" ] || names=$(tail -n 3 "$1")
    printf '%s\n' "$names"
}

failed=0

for run in $(seq "$runs"); do
    part=0
    for command in "$@"; do
        part=$((part + 1))
        output=$folder/$run-$part.log
        began=$(date +%s)
        if sh -c "$command" >"$output" 2>&1; then status=passed; else status=failed; fi
        line="run $run of $runs: $status in $(($(date +%s) - began)) s: $command"

        if [ "$status" = failed ]; then
            failed=$((failed + 1))
            printf '%s\n%s\n' "$line" "$(failures "$output")" | tee -a "$folder/runs.txt"
        else
            rm "$output"
            echo "$line" | tee -a "$folder/runs.txt"
        fi
    done
done

[ "$failed" = 0 ]
