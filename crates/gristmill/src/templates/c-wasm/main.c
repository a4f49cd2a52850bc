/* Arguments come as to any program, files of the job lie in /in, and what is left in /out is the result. */
#include <ctype.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    FILE *text = argc > 1 ? fopen(argv[1], "r") : NULL;
    if (argc > 1 && !text) {
        fprintf(stderr, "error: cannot read %s\n", argv[1]);
        return 1;
    }
    unsigned long lines = 0, words = 0, bytes = 0;
    int inside = 0, c;
    while (text && (c = getc(text)) != EOF) {
        bytes++;
        lines += c == '\n';
        if (isspace(c)) {
            inside = 0;
        } else if (!inside) {
            inside = 1;
            words++;
        }
    }
    FILE *out = fopen("/out/counts.txt", "w");
    if (!out) {
        fprintf(stderr, "error: cannot write to /out\n");
        return 1;
    }
    fprintf(out, "%lu %lu %lu\n", lines, words, bytes);
    printf("%lu lines, %lu words, %lu bytes\n", lines, words, bytes);
    return fclose(out) ? 1 : 0;
}
