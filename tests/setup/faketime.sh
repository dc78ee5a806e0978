#!/usr/bin/env bash
# Links the library that makes a process's clock jump into FOLDER, installing it if need be: faketime.sh FOLDER
set -euo pipefail

folder=$1 name=libfaketimeMT.so.1
if [ -e "$folder/$name" ]; then
    echo "$folder/$name is there"
    exit
fi
# Where distributions put it.
find_library() {
    find /usr/lib /usr/lib64 -name "$name" -print -quit 2>/dev/null
}
library=$(find_library)
if [ -z "$library" ]; then
    "$(dirname "$0")/apt.sh" libfaketime
    library=$(find_library)
fi
mkdir -p "$folder"
ln -sf "$library" "$folder/$name"
echo "$folder/$name -> $library"
