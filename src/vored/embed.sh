#!/bin/sh
# A text file as a C string: embed.sh NAME FILE
printf 'static const char %s[] =\n' "$1"
sed -e 's/\\/\\\\/g; s/"/\\"/g; s/.*/        "&\\n"/' "$2"
printf '        ;\n'
