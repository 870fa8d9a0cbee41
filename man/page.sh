#!/bin/sh
# page.sh SCDOC TEMPLATE [COMMAND...]: prints the man page of a template, whose line "@rows@" stands for what the
# command prints.
set -eu
scdoc=$1
template=$2
shift 2
rows=$(mktemp)
page=$(mktemp)
trap 'rm -f "$rows" "$page"' EXIT
if [ $# -gt 0 ]; then
    "$@" >"$rows"
fi
# Not a pipe: a sed or scdoc that fails is a failure of this script.
sed -e "/^@rows@\$/{r $rows" -e 'd;}' "$template" >"$page"
"$scdoc" <"$page"
