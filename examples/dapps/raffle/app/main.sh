#!/app/busybox sh
# A ticket's score is the SHA-256 of three words: the raffle's address, its seed, and the ticket's number. The lowest wins,
# and its number, as a word, is the answer.
set -eu
box=/app/busybox
if [ ${#1} -ne 192 ]; then
    echo "error: three words are 192 hexadecimal digits, not ${#1}" >&2
    exit 1
fi
head=$(printf %.128s "$1")
tickets=$((0x${1#"${1%????????????????}"}))
score() {
    printf '%s%064x' "$head" "$1" | $box xxd -r -p | $box sha256sum | $box cut -c 1-64
}
ticket=0
while [ "$ticket" -lt "$tickets" ]; do
    echo "$(score "$ticket") $ticket"
    ticket=$((ticket + 1))
done > /tmp/scores
winner=$($box sort /tmp/scores | $box head -n 1 | $box cut -d ' ' -f 2)
printf '%064x' "$winner" | $box xxd -r -p > /out/result
echo "ticket $winner of $tickets"
