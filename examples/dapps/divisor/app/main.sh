#!/app/busybox sh
# A word of the contract's is 64 hexadecimal digits; the shell counts with the last 16. What is left in /out/result is
# the answer: here a word, too.
set -eu
number=$((0x${1#"${1%????????????????}"}))
set -- $(/app/busybox factor "$number")
if [ "$2" = "$number" ]; then
    echo "error: $number is a prime number" >&2
    exit 1
fi
printf '%064x' "$2" | /app/busybox xxd -r -p > /out/result
echo "$2 divides $number"
